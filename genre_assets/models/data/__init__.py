"""The training set: rows with their genre, group and split, where they are stored, and what must hold of them.

`training` (what it is), `split`, `tables` (ready feature tables), `training_store`, `quality` (what the checks state).
Add here: a source of rows, a property of them. Not here: models.
"""
