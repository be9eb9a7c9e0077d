"""The ten genres of GTZAN (Tzanetakis and Cook, 2002): the labels of the demo's music and of the preset `gtzan`.

No other module names a label: what the labels are is read from the bucket (`labels.py`).
"""

GENRES: tuple[str, ...] = (
    "blues",
    "classical",
    "country",
    "disco",
    "hiphop",
    "jazz",
    "metal",
    "pop",
    "reggae",
    "rock",
)
