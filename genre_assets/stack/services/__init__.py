"""The local services: a file for each server, `catalogue` for all of them, and what is asked of each.

Add here: a service. Not here: restarting, order, logs (`supervision`).
"""
