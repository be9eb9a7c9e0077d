"""What the platform knows, for Prometheus, at `/v1/metrics`: of the database, the release, the supervisor, certificates.

Add here: a fact that a rule or a panel asks for. Not here: what happens inside Triton (`genre_assets/inference/metrics.py`)
or at the door (`genre_assets/triton/door/measured.py`), and whether a fact is bad (`deploy/prometheus`).
"""
