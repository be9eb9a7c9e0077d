"""How many resampled windows does a p-value need? Few, where it is plain that nothing is the matter.

The p-value of the first resamples is looked at; is it so high that the p-value of all cannot be low, it is the answer
(Besag and Clifford, 1991, with stages in place of single draws). It stays valid, at every level: the bounds fall from
stage to stage, so that an answer of at most `a` is always a p-value of at most `a` at one stage that `a` itself names, and
each stage's is valid. It decides as all resamples do but for a chance of `RISK` a stage: the exceedances among the first
resamples are then a sample without replacement of those among all.
"""

from collections.abc import Callable
from functools import cache
from math import comb, floor
from typing import TypeVar

T = TypeVar("T")
SHARES = (0.2, 0.5)  # of all resamples, at the stages before the last
LEAST = 99
RISK = 1e-6


def ask(question: Callable[[int], tuple[float, T]], total: int, low: float) -> tuple[float, T]:
    """Ask of more and more resamples, until the answer is plain or all `total` are used.

    Parameters
    ----------
    question
        Given a number of resamples, the p-value over the first so many and what else is known then.
    total
        How many there are.
    low
        The highest p-value that leads to anything: whether the p-value of all is above it must not depend on the stage.
    """
    for count, bound in stages(total, low):
        p_value, known = question(count)
        if p_value > bound:
            return p_value, known
    return question(total)


@cache
def stages(total: int, low: float) -> tuple[tuple[int, float], ...]:
    """(resamples, bound) of each stage before the last: above its bound, a p-value ends the asking. Bounds fall."""
    counts = sorted({max(round(share * (total + 1)) - 1, LEAST) for share in SHARES}, reverse=True)
    found, bound = list[tuple[int, float]](), 0.0
    for count in counts:
        if count < total:
            bound = max(bound, _bound(count, total, low))  # an earlier bound is no lower than a later one
            found.append((count, bound))
    return tuple(reversed(found))


def _bound(count: int, total: int, low: float) -> float:
    """The p-value of `count` resamples that those of `total`, at p-value `low`, exceed with a chance of at most `RISK`."""
    hits = min(floor(low * (total + 1) + 1e-9) - 1, total)  # exceedances among all, at that p-value
    if hits < 0:
        return 0.0  # no p-value can be so low
    above, ways = 0.0, comb(total, count)
    for seen in range(min(hits, count), 0, -1):  # the hypergeometric distribution, from its upper end
        others = count - seen
        above += comb(hits, seen) * comb(total - hits, others) / ways if others <= total - hits else 0.0
        if above > RISK:
            return (1 + seen) / (1 + count)
    return 1 / (1 + count)
