"""Notifying people: alerts that open once, repeat and resolve (`manager`), by channels, from sources; their listing.

Add here: a source of alerts, or a channel. Not here: finding out what is wrong; a source only reads what others found.
"""
