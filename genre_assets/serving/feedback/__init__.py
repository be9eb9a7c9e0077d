"""What people say of answers: lists for labelling, labels that come later and make training data, past windows once more.

Add here: a way for people's knowledge to reach the windows and the training data. Not here: the tests of drift themselves.
"""
