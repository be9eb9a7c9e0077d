"""Stage 2, features -> champion: a training set, tuned models of each family, a vote, champion and fallback.

Rooms: `data`, `families`, `onnx`, `tuning`, `mlflow`, `selection`; `retraining` decides when to train again. Add here: an
asset, check or sensor of the stage. Not here: what is served now; the sensor is given what it must know of that.
"""
