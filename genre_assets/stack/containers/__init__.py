"""The same services in containers: each kept by a process of ours beside it, what must be done once, and the file of secrets.

`python -m genre_assets.stack.containers NAME` runs one. Add here: what docker-compose.yaml starts. Not here: the services
themselves (`services`), and anything that differs only by a setting.
"""
