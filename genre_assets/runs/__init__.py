"""How Dagster runs what the stages define: their partitions, what may run at once (`pools`), lost runs, where output is kept.

Add here: what holds for the runs of every stage. Not here: a stage's own sensors; launching a run, which is asked of the
stack (`genre_assets/stack/orchestrate.py`).
"""
