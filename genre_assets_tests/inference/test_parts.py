"""What the pre-processor makes of a whole file for a timeline, and where it stops."""

import numpy as np
import pytest

from genre_assets.audio.extract import Limits, extract_item
from genre_assets.inference.parts import Cancelled, PartsMaker
from genre_assets.inference.timeline import Parts
from genre_assets_tests.audio.sounds import av_file, sound_file

RATE = 8_000
SOUND = (0.1 * np.random.default_rng(1).standard_normal(24 * RATE)).astype(np.float32)
LIMITS = Limits(max_seconds=6.0, segment_seconds=3.0)
FILE = sound_file(SOUND, rate=RATE)


def maker(most_seconds: float = 60.0, work_seconds: float = 60.0) -> PartsMaker:
    return PartsMaker(LIMITS, "default", most_seconds, work_seconds)


def test_the_first_segments_are_those_that_the_item_is_judged_by() -> None:
    parts = maker().make(FILE)
    assert [start for start, *_ in parts.segments] == [3.0 * n for n in range(8)]
    np.testing.assert_array_equal(parts.rows[:2], extract_item(FILE, limits=LIMITS).features)
    again = Parts.decode(parts.encode())
    np.testing.assert_array_equal(again.rows, parts.rows)
    assert (again.heard_s, again.of_s) == (24.0, 24.0)


def test_a_longer_file_than_the_setting_allows_has_none_and_is_told_why() -> None:
    parts = maker(most_seconds=20.0).make(FILE)
    assert parts.error.startswith("too_long: the file has 0:24;")
    assert "GENRE_SERVING_TIMELINE_HOURS" in parts.error
    assert len(parts.segments) == 0


def test_one_that_does_not_tell_its_length_ends_at_the_limit() -> None:
    parts = maker(most_seconds=12.0).make(av_file(SOUND, rate=RATE, container="adts"))
    assert (parts.heard_s, parts.of_s, parts.error) == (12.0, None, "")
    assert "GENRE_SERVING_TIMELINE_HOURS" in parts.note


def test_work_ends_where_it_has_come_to() -> None:
    parts = maker(work_seconds=1e-9).make(FILE)
    assert (parts.heard_s, parts.of_s, len(parts.rows)) == (3.0, 24.0, 1)
    assert "GENRE_SERVING_TIMELINE_SECONDS" in parts.note


def test_nobody_waits_no_more_is_done() -> None:
    asked = iter([False, False, True])
    with pytest.raises(Cancelled):
        maker().make(FILE, lambda: next(asked))


def test_a_segment_that_cannot_be_judged_costs_itself_alone() -> None:
    samples = SOUND.copy()
    samples[4 * RATE] = np.nan
    samples[7 * RATE] = 1e30
    parts = maker().make(sound_file(samples, rate=RATE, subtype="FLOAT"))
    assert [error.partition(":")[0] for *_, error in parts.segments] == ["", "not_finite", "not_finite", *[""] * 5]
    assert len(parts.rows) == 6


@pytest.mark.parametrize("data", [b"[]\n", b"rubbish", Parts(segments=[(0.0, 1.0, "")]).encode()])
def test_what_is_no_parts_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError):  # of json or NumPy
        Parts.decode(data)
