"""The stored tables of the stage: the inventory of the bucket and the features, kept up to date.

`listing`, `fetch`, `one_pass` over new objects with `inspect_file`, `inventory`, `features`, `refresh`, `rows`, `parts`, `checkpoint`;
`properties` is what the checks state.
Add here: what is read from or written to the buckets. Not here: computing features, deciding when to run (`arrivals`).
"""
