"""What runs inside Triton's Python processes, as plain functions; `triton_models/` are thin adapters over it.

In the order of a request: `items` and `store` (bytes), `features`, `answers` (predictor and post-processor), `metrics`,
`request_rows`, `spool` and `set_aside` (the log on its way), `request_log` (its table); `seal` signs what the steps tell
each other, `running` asks whether they run what their release names. It is shipped beside `model.py`, by its imports. Add here: what the ensemble does with a request. Not here:
Dagster, MLflow, pandas, or anything else that Triton's environment does not hold.
"""
