"""Many files at once, none of which can stop the others: processes here (`pool`, `process`) or on a cluster (`dask`).

Add here: another place where files are worked on. Not here: what is done with a file.
"""
