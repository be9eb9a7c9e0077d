"""The feature sets: named columns, a version, and the function that computes them.

`default` is the platform's own, `gtzan37` that of the published tables; `equality` computes the latter with librosa, for
comparison only. Add here: a feature set, or a column (with a new version, and new golden vectors). Not here: transforms.
"""
