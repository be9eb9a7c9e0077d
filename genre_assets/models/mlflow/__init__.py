"""MLflow: runs and their trials (`tracking`), registered versions and aliases (`registry`), the MLmodel file.

The only place that talks to MLflow. Add here: what is kept there, and how it is found again. Not here: what it is worth.
"""
