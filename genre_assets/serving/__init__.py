"""Stage 4, release -> answers -> drift -> fallback: the live ensemble, its log, and what is concluded from it.

Rooms: `rollout`, `drift`, `promotion`, `alerts`, `feedback`; `batch` answers a whole prefix. Add here: an asset, check or
sensor of the stage. Not here: what runs inside Triton (`inference`), or how it is spoken to (`triton`).
"""
