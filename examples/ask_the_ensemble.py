"""Ask the live ensemble: `python examples/ask_the_ensemble.py song.mp3 other.wav`. The stack is that of GENRE_HOME."""

import sys
from pathlib import Path

from genre_assets import GenreClient
from genre_assets.settings import load_settings

with GenreClient.from_settings(load_settings()) as client:
    answers = client.predict([Path(name).read_bytes() for name in sys.argv[1:]])
for name, answer in zip(sys.argv[1:], answers, strict=True):
    if answer.error:
        print(f"{name}: {answer.error}")
        continue
    second, first = sorted(answer.probabilities.items(), key=lambda pair: pair[1])[-2:]
    print(
        f"{name}: {first[0]} ({first[1]:.0%}), then {second[0]} ({second[1]:.0%}), by {answer.model} v{answer.version}"
    )
