"""The stored tables of the stage: the inventory of the bucket and the features, kept up to date.

`listing`, `fetch`, `inspect_file`, `inventory`, `features`, `refresh`, `checkpoint`; `properties` is what the checks state.
Add here: what is read from or written to the buckets. Not here: computing features, deciding when to run (`arrivals`).
"""
