"""Recognising a recording by its sound: the same signature, nearly, after re-encoding, resampling or a change of gain.

After Haitsma & Kalker (2002): the energy of 17 bands from 300 to 4,000 Hz, averaged over a third of a second; a bit
says whether the difference between two neighbouring bands grew since a third of a second ago. That gives a word of 16
bits every 46 ms. A gain cancels out, a codec turns few of the bits over. Two recordings are the same if, over a common
stretch, fewer than `MAX_ERROR_RATE` of the bits differ; unrelated music differs in nearly half of them.
"""

import hashlib
from collections.abc import Iterator, Sequence

import numpy as np
import scipy
from numpy.typing import NDArray

from genre_assets.audio.dsp import kernel
from genre_assets.audio.dsp.filters import FRAME, Doubles, Floats

Words = NDArray[np.uint16]
Keys = NDArray[np.uint32]
Numbers = NDArray[np.int32]

FRAME_SECONDS = 0.0929
HOP_SECONDS = 0.0464
BANDS_HZ = np.geomspace(300.0, 4000.0, 18)
SMOOTHING = 8  # frames
BLOCK = 64  # frames transformed at a time
MAX_ERROR_RATE = 0.28
MIN_COMMON_SECONDS = 3.0
MIN_COMMON_SHARE = 0.5
VERSION = "1"  # of the signature and of what the index takes from it: another has the index made anew
NEIGHBOURS = 4  # how many entries with the same key are compared with each other
_PAIR_DISTANCE = SMOOTHING  # frames between the two words of an index key: far enough to be independent
_SAMPLING = 4  # one key of four goes into the index, the same ones for the same sound


def signature(samples: Floats, sample_rate: int) -> bytes:
    """The signature of a mono waveform: little-endian words of 16 bits, one for each 46 ms; empty below 0.8 s."""
    energy = _smoothed(_band_energy(samples, sample_rate))
    if len(energy) <= SMOOTHING:
        return b""
    slope = energy[:, :-1] - energy[:, 1:]
    bits = slope[SMOOTHING:] > slope[:-SMOOTHING]
    words: Words = np.packbits(bits, axis=1, bitorder="little").view("<u2").ravel()
    return words.tobytes()


def recording_id(signature_bytes: bytes, fingerprint: str) -> str:
    """The name of a recording: from its signature, or from the file's bytes if it is too short for one."""
    return hashlib.sha256(signature_bytes or fingerprint.encode()).hexdigest()[:20]


def _band_energy(samples: Floats, sample_rate: int) -> Doubles:
    """Energy in each band, float64 [frames, 17]."""
    length = scipy.fft.next_fast_len(round(FRAME_SECONDS * sample_rate), real=True)
    hop = HOP_SECONDS * sample_rate
    count = int((len(samples) - length) / hop) + 1 if len(samples) >= length else 0
    edges = np.minimum(np.round(BANDS_HZ * length / sample_rate).astype(int), length // 2)
    window = np.hanning(length).astype(np.float32)
    starts = np.round(np.arange(count) * hop).astype(int)
    energy = np.empty((count, len(BANDS_HZ) - 1))
    if not count:
        return energy
    compiled = kernel.load()
    if compiled is not None and length == FRAME:  # at 22,050 Hz
        return compiled.frame_bands(samples, starts, window, edges)
    frames = np.lib.stride_tricks.sliding_window_view(samples, length)
    last = int(edges[-1])  # nothing above is looked at
    total = np.zeros((BLOCK, last + 1))
    for first in range(0, count, BLOCK):
        framed = frames[starts[first : first + BLOCK]]
        framed *= window
        spectrum = scipy.fft.rfft(framed, axis=1, overwrite_x=True)[:, :last]
        power = np.square(spectrum.real)
        power += np.square(spectrum.imag)
        if compiled is not None:
            compiled.band_sums(power, edges, energy[first : first + BLOCK])
            continue
        rows = len(power)
        np.cumsum(power, axis=1, dtype=np.float64, out=total[:rows, 1:])
        energy[first : first + BLOCK] = total[:rows, edges[1:]] - total[:rows, edges[:-1]]
    return energy


def _smoothed(energy: Doubles) -> Doubles:
    """Running mean over `SMOOTHING` frames, on a scale (fourth root) where loud frames do not outweigh all others."""
    total = np.concatenate((np.zeros((1, energy.shape[1])), np.cumsum(energy**0.25, axis=0)))
    smoothed: Doubles = (total[SMOOTHING:] - total[:-SMOOTHING]) / SMOOTHING
    return smoothed


def error_rate(first: Words, second: Words, lag: int) -> float:
    """Share of bits that differ where `first[lag:]` lies on `second`; 1.0 if they share too little to tell."""
    start, end = max(0, lag), min(len(first), len(second) + lag)
    common = end - start
    if common * HOP_SECONDS < MIN_COMMON_SECONDS or common < MIN_COMMON_SHARE * min(len(first), len(second)):
        return 1.0
    different = first[start:end] ^ second[start - lag : end - lag]
    return int(np.bitwise_count(different).sum(dtype=np.int64)) / (16 * common)


def is_same(first: Words, second: Words, lag: int) -> bool:
    """Whether two signatures are one recording where `first[lag:]` lies on `second`."""
    return error_rate(first, second, lag) <= MAX_ERROR_RATE


def words_of(signature_bytes: bytes) -> Words:
    """The words of a signature."""
    return np.frombuffer(signature_bytes, "<u2")


def same_recordings(signatures: Sequence[bytes]) -> list[list[int]]:
    """Groups of two or more positions whose signatures are the same recording.

    Candidates come from an index of pairs of words, so the cost grows with the number of files, not with its square.
    """
    from scipy.cluster.hierarchy import DisjointSet

    groups = DisjointSet(range(len(signatures)))
    for i, j in same_pairs(signatures):
        groups.merge(i, j)
    return sorted(sorted(group) for group in groups.subsets() if len(group) > 1)


def same_pairs(signatures: Sequence[bytes]) -> list[tuple[int, int]]:
    """Every two positions, i < j, that are candidates and the same recording; what is a candidate depends on the order."""
    words = [words_of(s) for s in signatures]
    keys, owners, frames = entries(words)
    order = np.lexsort((frames, owners, keys))
    keys, owners, frames = keys[order], owners[order], frames[order]
    found: set[tuple[int, int]] = set()
    for i, j, lag in set(near(keys, owners, frames)):
        if (i, j) not in found and is_same(words[i], words[j], lag):
            found.add((i, j))
    return sorted(found)


def near(keys: Keys, owners: Numbers, frames: Numbers) -> Iterator[tuple[int, int, int]]:
    """(i, j, lag) for owners that stand within `NEIGHBOURS` of each other under the same key; the entries are in order."""
    for distance in range(1, NEIGHBOURS + 1):
        at = np.flatnonzero((keys[distance:] == keys[:-distance]) & (owners[distance:] != owners[:-distance]))
        lags = frames[at] - frames[at + distance]
        yield from zip(owners[at].tolist(), owners[at + distance].tolist(), lags.tolist(), strict=True)


def keys_of(signature_words: Words) -> tuple[Keys, Numbers]:
    """The index keys of a signature (two words, a third of a second apart), and the frame of each."""
    wide = signature_words.astype(np.uint32)
    pairs = wide[:-_PAIR_DISTANCE] | (wide[_PAIR_DISTANCE:] << np.uint32(16))
    # The sampling looks at mixed bits, so that it does not favour any kind of sound.
    chosen = (pairs * np.uint32(2654435761)) >> np.uint32(16) & np.uint32(_SAMPLING - 1) == 0
    chosen &= (pairs != 0) & (pairs != np.uint32(0xFFFFFFFF))
    at = np.flatnonzero(chosen)
    return pairs[at], at.astype(np.int32)


def entries(words: Sequence[Words]) -> tuple[Keys, Numbers, Numbers]:
    """Keys of several signatures, the position of the signature that each is of, and its frame there."""
    if not words:
        return np.zeros(0, np.uint32), np.zeros(0, np.int32), np.zeros(0, np.int32)
    found = [keys_of(one) for one in words]
    owners = np.repeat(np.arange(len(words), dtype=np.int32), [len(keys) for keys, _ in found])
    return np.concatenate([keys for keys, _ in found]), owners, np.concatenate([frames for _, frames in found])
