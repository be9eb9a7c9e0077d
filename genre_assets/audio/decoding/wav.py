"""Our own reader of plain samples: wav (RIFF, RF64, extensible), aiff and au, integers of 8 to 32 bits and floats.

NumPy alone, so it is memory-safe and runs where the secrets are. It gives the values that libsndfile gives, bit for bit.
"""

from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from genre_assets.audio.decoding.pcm_headers import Layout, read_layout
from genre_assets.audio.decoding.stream import BLOCK_VALUES, Floats, InMemory, Stream, Window, room_for

_SEQUENTIAL = 8  # NumPy adds fewer values than this one after the other


def read(file: BinaryIO, window: Window, size: int) -> Stream:
    """Read the window of a file of `size` bytes. Raises as `pcm_headers.read_layout`."""
    layout = read_layout(file, size)
    rate = layout.sample_rate
    duration = layout.frames / rate
    first = min(layout.frames, round(window.start(duration) * rate))
    wanted = min(room_for(window, rate), layout.frames - first)
    samples = np.empty(wanted, np.float32)
    with np.errstate(all="ignore"):  # what a damaged file of floats holds may overflow; `decode` looks at the samples
        filled = _fill(samples, file, layout, first)
    return Stream(samples[:filled], rate, duration, layout.channels, layout.format)


def blocks(file: BinaryIO, window: Window, size: int) -> Iterator[Stream]:
    """All of it, in blocks of the window's length. Raises as `read`."""
    layout = read_layout(file, size)
    room = room_for(window, layout.sample_rate)
    first = 0
    while True:
        samples = np.empty(min(room, layout.frames - first), np.float32)
        with np.errstate(all="ignore"):
            filled = _fill(samples, file, layout, first)
        yield Stream(
            samples[:filled], layout.sample_rate, layout.frames / layout.sample_rate, layout.channels, layout.format
        )
        first += filled
        if not filled or filled < room:
            return


def _fill(samples: Floats, file: BinaryIO, layout: Layout, first: int) -> int:
    """Mix the frames from `first` on into `samples`; how many there were."""
    start = layout.start + first * layout.frame_bytes
    block = max(1, BLOCK_VALUES // layout.channels)
    there = memoryview(file.content) if isinstance(file, InMemory) else None  # read where it lies, without a copy
    file.seek(start)
    done = 0
    while done < len(samples):
        count = min(block, len(samples) - done)
        wanted = count * layout.frame_bytes
        data = file.read(wanted) if there is None else there[start + done * layout.frame_bytes :][:wanted]
        count = len(data) // layout.frame_bytes
        if not count:
            break
        raw = np.frombuffer(data, np.uint8, count * layout.frame_bytes)
        _mix(raw, layout, samples[done : done + count])
        done += count
    return done


def _mix(raw: NDArray[np.uint8], layout: Layout, out: Floats) -> None:
    """Samples of one block to float32 in [-1, 1], and their mean over the channels."""
    values, scale, middle = _values(raw, layout.form)
    frames = values.reshape(-1, layout.channels)
    if layout.channels >= _SEQUENTIAL:
        out[:] = _scaled(frames, scale, middle).mean(axis=1, dtype=np.float32)
        return
    _convert(frames[:, 0], scale, middle, out)
    for channel in range(1, layout.channels):
        out += _scaled(frames[:, channel], scale, middle)
    if layout.channels > 1:
        out /= np.float32(layout.channels)


def _values(raw: NDArray[np.uint8], form: str) -> tuple[NDArray[np.generic], float, float]:
    """The numbers as they are stored, what to multiply them by, and what to take away before."""
    if form[-2:] == "i3":
        wide = np.zeros((len(raw) // 3, 4), np.uint8)  # 24 bits as the upper ones of 32
        if form[0] == "<":
            wide[:, 1:] = raw.reshape(-1, 3)
            return wide.view("<i4")[:, 0], 2.0**-31, 0.0
        wide[:, :3] = raw.reshape(-1, 3)
        return wide.view(">i4")[:, 0], 2.0**-31, 0.0
    values = raw.view(form)
    if form[-2] == "f":
        return values, 1.0, 0.0
    return values, 2.0 ** -(8 * int(form[-1]) - 1), 128.0 if form == "u1" else 0.0


def _scaled(values: NDArray[np.generic], scale: float, middle: float) -> Floats:
    result = np.empty(values.shape, np.float32)
    _convert(values, scale, middle, result)
    return result


def _convert(values: NDArray[np.generic], scale: float, middle: float, out: Floats) -> None:
    """To float32 and to scale, in one pass: NumPy converts and multiplies a piece of each while it is in the cache."""
    if middle:
        np.subtract(values, np.float32(middle), out=out, dtype=np.float32, casting="unsafe")
        out *= np.float32(scale)
    else:
        np.multiply(values, np.float32(scale), out=out, dtype=np.float32, casting="unsafe")
