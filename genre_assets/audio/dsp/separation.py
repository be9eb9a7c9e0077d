"""Harmonic/percussive separation by median filtering (Fitzgerald 2010), with soft masks (Driedger et al. 2014).

Harmonic sound is smooth along time, percussive sound along frequency: the median of 31 frames against that of 31 bins
says which a cell of the spectrogram belongs to. The two masks sum to one, so the percussive waveform is what
remains of the clip without the harmonic one, and one inverse transform is enough.
"""

import numpy as np
import scipy

from genre_assets.audio.dsp import filters, kernel
from genre_assets.audio.dsp.filters import FRAME, HOP, OVERLAP, Doubles, Floats
from genre_assets.audio.dsp.median_filter import median_rows
from genre_assets.audio.dsp.spectrum import BLOCK, TINY, Grid, Spectrum


def harmonic_mask(magnitude: Floats) -> Floats:
    """Share of each cell that is harmonic, float32 [T, 1025] in [0, 1]; one half where there is nothing.

    As `librosa.decompose.hpss(..., kernel_size=31, power=2.0, mask=True)`.
    """
    harmonic = median_rows(magnitude)
    turned = np.empty(magnitude.shape[::-1], np.float32)
    for start in range(0, len(magnitude), BLOCK):  # so that the lines that are read by columns stay in the cache
        turned[:, start : start + BLOCK] = magnitude[start : start + BLOCK].T
    percussive = median_rows(turned)
    for start in range(0, len(harmonic), BLOCK):
        mask = harmonic[start : start + BLOCK]
        mask *= mask
        total = np.square(percussive[:, start : start + BLOCK]).T + mask
        nothing = total < TINY
        if nothing.any():
            mask[nothing], total[nothing] = 0.5, 1.0
        mask /= total
    return harmonic


def harmonic_share(spectrum: Spectrum) -> Doubles:
    """Share of each frame's energy that is harmonic, float64 [T] in [0, 1]; one half in silence."""
    if isinstance(spectrum.cells, kernel.Reading):
        energy = spectrum.cells.kernel.harmonic_energy(spectrum.cells).astype(np.float64)
        harmonic, total = energy[:, 0], energy[:, 1]
    else:
        magnitude = spectrum.cells.magnitude
        mask = harmonic_mask(magnitude)
        harmonic, total = np.empty(len(mask)), np.empty(len(mask))
        for start in range(0, len(mask), BLOCK):
            block = slice(start, start + BLOCK)
            part = np.square(magnitude[block])
            total[block] = part.sum(axis=1)
            harmonic[block] = np.einsum("ij,ij->i", part, mask[block])
    return np.where(total > TINY, harmonic / np.maximum(total, TINY), 0.5)


def harmonic_waveform(spectrum: Spectrum) -> Floats:
    """The harmonic part as sound, float32 of the clip's length: masked spectrum, inverse transform, overlap-add.

    The spectrum must have been read with `waveform`; it can be asked once, since the transform is overwritten.
    """
    if isinstance(spectrum.cells, kernel.Reading):
        sound = spectrum.cells.kernel.harmonic_sound(spectrum.cells)
    else:
        sound = _overlapped(spectrum.cells, harmonic_mask(spectrum.cells.magnitude))
    _undo_window(sound)
    length = len(spectrum.samples)
    wave = sound.ravel()[FRAME // 2 : FRAME // 2 + length]
    return np.pad(wave, (0, length - len(wave))) if len(wave) < length else wave


def _overlapped(grid: Grid, mask: Floats) -> Floats:
    """The masked spectrum as sound, [T + 3, 512], before the windows' sum is divided out."""
    window = filters.hann()
    sound = np.zeros((len(mask) + OVERLAP - 1, HOP), np.float32)
    for start, masked in zip(range(0, len(mask), BLOCK), grid.transform, strict=True):
        end = start + len(masked)
        for parts in (masked.real, masked.imag):  # times a complex mask would be twice the work
            parts *= mask[start:end]
        pieces = scipy.fft.irfft(masked, n=FRAME, axis=1)
        pieces *= window
        pieces = pieces.reshape(end - start, OVERLAP, HOP)
        for part in range(OVERLAP):
            sound[start + part : end + part] += pieces[:, part]
    return sound


def _undo_window(sound: Floats) -> None:
    """Divide each sample of `sound`, [frames + 3, 512], by the sum of the squared windows that overlap there."""
    squared: Doubles = np.square(filters.hann().astype(np.float64)).reshape(OVERLAP, HOP)
    hops = len(sound)
    edge = OVERLAP - 1  # hops at each end that fewer windows reach; between them the sum is always the same
    sound[edge : hops - edge] *= _inverse(squared.sum(axis=0))
    for hop in {*range(min(edge, hops)), *range(max(hops - edge, 0), hops)}:
        frames = range(max(0, hop - edge), min(hop, hops - OVERLAP) + 1)
        sound[hop] *= _inverse(sum((squared[hop - frame] for frame in frames), np.zeros(HOP)))


def _inverse(total: Doubles) -> Floats:
    """One over it; 1 where there is nothing."""
    return (1 / np.where(total > TINY, total, 1.0)).astype(np.float32)
