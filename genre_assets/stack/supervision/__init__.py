"""Keeping services alive: what a service is, its keeper, its light, its log file, who is notified, what others can see.

Add here: what holds of every service alike. Not here: the name of any of them.
"""
