"""Who may ask the gateway: its own names and pages alone, keys with scopes and limits where others reach it.

Add here: what keeps a request out. Not here: what is answered to those that are let in.
"""
