"""Messages between the steps of the ensemble come back as they were sent, from a step of another release too."""

import json
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genre_assets.inference.answers import Facts, ServedBy
from genre_assets.triton.messages import Message

text = st.text(max_size=12)
amount = st.floats(0, 1e9)


@given(st.builds(Facts, text, text, text, amount, duration_s=amount, sample_rate=st.integers(0, 400_000), tag=text))
def test_facts_come_back_as_they_were_sent(facts: Facts) -> None:
    assert Facts.decode(facts.encode()) == facts


@given(st.builds(ServedBy, text, st.integers(1), text, amount, st.lists(text).map(tuple)))
def test_who_served_comes_back_with_its_labels_in_order(served: ServedBy) -> None:
    assert ServedBy.decode(served.encode()) == served


@dataclass(frozen=True)
class Newer(Message):
    """Facts as a later release may have them."""

    fingerprint: str = ""
    moon: str = ""


def test_a_step_of_an_older_release_reads_what_it_knows_and_is_not_told_what_is_not_said() -> None:
    assert Facts.decode(Newer("f", "full").encode()) == Facts("f")
    assert json.loads(Newer("f").encode()) == {"fingerprint": "f"}


@pytest.mark.parametrize(
    ("sent", "why"),
    [(b'{"model": "linear", "version": 3}', "without route, predict_ms"), (b"[]", "no ServedBy"), (b"{", "Expecting")],
)
def test_what_is_no_such_message_is_refused_with_what_is_missing(sent: bytes, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        ServedBy.decode(sent)
