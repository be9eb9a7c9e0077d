"""Backup and restore: four databases and five buckets as one set that is whole or is none.

`save` and `restore` are the two ways; `databases`, `buckets` and `places` know PostgreSQL, S3 and where an archive lies, `manifest`
what it says of itself, `data_services` who serves the data meanwhile, `releases` what a restored release needs to serve again.
Add here: what an archive holds, and how it is looked at before anything is touched. Not here: versions of the tables
(`migrations`), copies of one asset (its own stage has them).
"""
