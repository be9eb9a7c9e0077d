"""Recognising a recording by its sound, whatever its bytes, and deciding which of its copies stays.

Add here: what makes two files the same recording. Not here: which files are there (`tables`).
"""
