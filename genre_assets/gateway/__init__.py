"""The front door: a web page for people, and REST for programs, before everything that the platform knows.

Add here: a page, an address of the API. Not here: what a model answers (`inference`), what a window says (`serving`). It holds
nothing of its own: killed, it is started again.
"""
