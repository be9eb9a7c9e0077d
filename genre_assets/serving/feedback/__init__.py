"""What people say of answers: lists for labelling (`review`), labels that come later, past windows once more (`backfill`).

Add here: a way for people's knowledge to reach the windows. Not here: the tests of drift themselves.
"""
