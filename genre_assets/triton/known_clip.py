"""The clip that a light asks: it is answered by whatever serves, and costs next to nothing."""

import io
import math
import struct
import wave
from functools import cache


@cache
def known_clip() -> bytes:
    """Two seconds of a tone as a wav file: whatever the labels are, it must be answered."""
    rate = 22_050
    samples = (round(8_000 * math.sin(2 * math.pi * 440 * n / rate)) for n in range(2 * rate))
    file = io.BytesIO()
    with wave.open(file, "wb") as tone:
        tone.setnchannels(1)
        tone.setsampwidth(2)
        tone.setframerate(rate)
        tone.writeframes(struct.pack(f"<{2 * rate}h", *samples))
    return file.getvalue()
