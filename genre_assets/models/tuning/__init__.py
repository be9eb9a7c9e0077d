"""From a training set to a registered model: search (`tune`), fit, evaluation, parity, card and plots (`experiment`).

`vote` makes one more model of all families'. Add here: how models are searched for and measured. Not here: which of them
serves (`selection`), or a family's own parameters.
"""
