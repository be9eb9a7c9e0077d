"""Where the CPU time of a clip goes, step by step, with the kernel and without: the table of docs/performance.md.

`python -m benchmarks._audio_profile` prints it. Each step is repeated, the least time counts (other work on the machine makes
times longer, never shorter), and what a step needs is made before its clock runs.
"""

import sys
import time
from collections.abc import Callable
from contextlib import nullcontext

from benchmarks._audio_common import clips
from genre_assets.audio.decoding.decode import decode
from genre_assets.audio.dsp import kernel, rhythm, separation
from genre_assets.audio.dsp.memory import keep_freed_memory
from genre_assets.audio.dsp.spectrum import analyse
from genre_assets.audio.extract import one_thread
from genre_assets.audio.feature_sets import default, gtzan37
from genre_assets.audio.recordings.fingerprint import signature

REPEATS = 20


def spent(step: Callable[[], object], repeats: int) -> float:
    """Milliseconds of CPU of this thread, the least of all repeats."""
    times = []
    for _ in range(repeats):
        started = time.thread_time()
        step()
        times.append(time.thread_time() - started)
    return 1000 * min(times)


def profile(repeats: int = REPEATS) -> dict[str, float]:
    """Milliseconds of each step on the first clip, in order."""
    content = clips()[0].read_bytes()
    clip = decode(content)
    samples, rate = clip.samples, clip.sample_rate
    spectrum = default.spectrum_of(samples, rate)
    onsets = rhythm.onset_strength(spectrum.mel_db)

    def sound() -> None:
        separation.harmonic_waveform(analyse(samples, rate, waveform=True))

    def whole(values: Callable[[], object]) -> float:
        return spent(values, repeats)

    read = whole(lambda: analyse(samples, rate, chroma=True))
    found = {
        "read a wav": whole(lambda: decode(content)),
        "trim, transform, all that is read off the frames": read,
        "onsets": whole(lambda: rhythm.onset_strength(spectrum.mel_db)),
        "tempogram": whole(lambda: rhythm.mean_tempogram(onsets, rate)),
        "medians over time, mask, harmonic share (default)": whole(lambda: separation.harmonic_share(spectrum)),
    }
    values = whole(lambda: default.compute(spectrum))
    found["the other values of default"] = values - sum(list(found.values())[2:])
    plain = whole(lambda: analyse(samples, rate, waveform=True))
    found["the same medians, mask, harmonic sound (gtzan37)"] = whole(sound) - plain
    found["the other values of gtzan37"] = (
        whole(lambda: gtzan37.compute(analyse(samples, rate, waveform=True)))
        - plain
        - found["onsets"]
        - found["tempogram"]
        - found["the same medians, mask, harmonic sound (gtzan37)"]
    )
    found["fingerprint"] = whole(lambda: signature(samples, rate))
    return found


def main() -> None:
    """Print the table; another number of repeats may be asked for."""
    repeats = int(sys.argv[1]) if len(sys.argv) > 1 else REPEATS
    keep_freed_memory()
    columns = []
    for context in (nullcontext(), kernel.disabled()):
        with context, one_thread():
            columns.append(profile(repeats))
    print(f"{'step':52}{'kernel':>8}{'NumPy':>8}")
    for step, milliseconds in columns[0].items():
        print(f"{step:52}{milliseconds:8.1f}{columns[1][step]:8.1f}")


if __name__ == "__main__":
    main()
