"""The panel Serving: answers, which model gives them, windows of them, and the keys of the gateway.

Add here: a command of that panel, named in `COMMANDS` too. Not here: how items are answered and evaluated (`genre_assets.serving`, `genre_assets.triton.client`).
"""
