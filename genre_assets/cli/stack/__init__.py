"""The panel Stack: the local services, how they are, their pages and alerts.

Add here: a command of that panel, named in `COMMANDS` too. Not here: how services are kept (`genre_assets.stack`).
"""
