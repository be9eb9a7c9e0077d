"""The features of a sound: `python examples/extract_and_look.py song.mp3`."""

import sys
from pathlib import Path

import pandas as pd

from genre_assets import extract_item
from genre_assets.audio.extract import feature_set_named

item = extract_item(Path(sys.argv[1]))
print(f"{item.format}, {item.duration_s:.1f} s, {item.sample_rate} Hz, {item.channels} channel(s)")
print(f"decoded in {1000 * item.decode_s:.0f} ms, features in {1000 * item.extract_s:.0f} ms")

segments = [f"{start:.0f} to {start + seconds:.0f} s" for _, start, seconds in item.segments]
table = pd.DataFrame(item.features.T, index=list(feature_set_named("default").columns), columns=segments)
print(table.head(20).to_string(float_format="{:.3f}".format))
