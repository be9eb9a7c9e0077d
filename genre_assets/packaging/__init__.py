"""Stage 3, champion -> Triton repository: configurations, code, golden clips, the parity gate, published releases.

`config` and `ensemble` are the typed configuration, `release` makes, `parity` proves and `publish` offers one;
`model_repository` is the live folder on disk. `environment/` builds what Triton runs in. Add here: what a release holds.
Not here: whether it serves.
"""
