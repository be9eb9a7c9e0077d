"""The ten genres, in label order: index i of every probability vector is GENRES[i].

Nothing else belongs here; this module is imported by the Triton models and must not import anything.
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
