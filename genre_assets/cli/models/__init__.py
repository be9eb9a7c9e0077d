"""The panel Models: jobs, and which versions are champion and fallback.

Add here: a command of that panel, named in `COMMANDS` too. Not here: training and selection (`genre_assets.models`).
"""
