"""The agent beside each Triton: many replicas follow one decision, and one that does not know it does not answer.

`python -m genre_assets.serving.agent` is one. Add here: how a decision reaches a replica. Not here: how a release goes live on
a server (`rollout`: it is the same for one server and for many), and deciding who serves (`promotion`).
"""
