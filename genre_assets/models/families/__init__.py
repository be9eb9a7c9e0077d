"""The model families: a file for each, with its estimator, its search space and its ONNX graph.

`classifier` is what they have in common, `catalogue` names them all. Add here: a family (one file, one line of the
catalogue; CONTRIBUTING.md). Not here: searching, evaluating, registering.
"""
