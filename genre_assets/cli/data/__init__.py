"""The panel Data: audio and ready features in, labels, and the files that cannot be used.

Add here: a command of that panel, named in `COMMANDS` too. Not here: what is done with a file (`genre_assets.audio`).
"""
