"""A running median as a network of minima and maxima: the theory, and the generator of the program.

Median filters cost most of harmonic/percussive separation. Sorting every window from scratch ignores that neighbouring
windows share nearly all their values. Here `outputs` neighbouring medians (16 by default) of `window` values (31) are
computed by one fixed sequence of min and max operations, the same for any data, so that it runs over whole rows of
memory at a time, in NumPy or in generated C, without a branch.

How the sequence is found:

1. The windows of outputs 0..R-1 share the values R-1..w-1, the *core*. It is sorted once, by Batcher's odd-even merge
   sort (Batcher 1968). A median of w = 2h+1 values can only be one of the R values of the core whose rank is at most
   R-1 away from h (each window adds only R-1 further values): these *candidates* are kept, the rest is dropped.
2. The R outputs are split in two halves. A half's windows share R/2 further values, which are sorted and merged with
   the candidates; of the result only the ranks that can still become the median are kept: R/2 of them. This is
   repeated until a half is a single output with one candidate, its median.
3. An operation whose result nobody uses is dropped, and one that occurs twice is made once.

For w = 31 this needs 32 operations for each output at R = 16, against 274 at R = 1, a network for each window. It is exact: a
median is one of the values, so the result is bit-identical to any other exact median filter.
"""

from dataclasses import dataclass, field
from functools import cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Operation = Literal["min", "max"]


@dataclass(frozen=True)
class Step:
    """`registers[target] = operation(a, b)`; a source is an input row (`a_is_input`, `b_is_input`) or a register."""

    operation: Operation
    a: int
    a_is_input: bool
    b: int
    b_is_input: bool
    target: int


@dataclass(frozen=True)
class Program:
    """Steps over `registers` registers; output k of a group is then `registers[results[k]]`."""

    window: int
    outputs: int
    registers: int
    steps: tuple[Step, ...]
    results: tuple[int, ...]

    @property
    def inputs(self) -> int:
        """Rows that one group of outputs reads."""
        return self.window + self.outputs - 1


INFINITY = -1  # a padding value above all others; values are non-negative numbers


@dataclass
class _Network:
    """Values are numbers: 0..inputs-1 are the inputs, the others are operations on earlier values."""

    inputs: int
    operations: list[tuple[Operation, int, int]] = field(default_factory=list)
    known: dict[tuple[Operation, int, int], int] = field(default_factory=dict)

    def apply(self, operation: Operation, a: int, b: int) -> int:
        if a == b:
            return a
        if INFINITY in (a, b):
            other = b if a == INFINITY else a
            return other if operation == "min" else INFINITY
        key = (operation, min(a, b), max(a, b))
        if key not in self.known:
            self.known[key] = self.inputs + len(self.operations)
            self.operations.append(key)
        return self.known[key]

    def compare_exchange(self, values: list[int], i: int, j: int) -> None:
        low, high = self.apply("min", values[i], values[j]), self.apply("max", values[i], values[j])
        values[i], values[j] = low, high

    def odd_even_merge(self, values: list[int], low: int, length: int, distance: int) -> None:
        """Merge the sorted halves of `values[low:low+length]`, looking at every `distance`-th of them."""
        step = 2 * distance
        if step < length:
            self.odd_even_merge(values, low, length, step)
            self.odd_even_merge(values, low + distance, length, step)
            for i in range(low + distance, low + length - distance, step):
                self.compare_exchange(values, i, i + distance)
        else:
            self.compare_exchange(values, low, low + distance)

    def odd_even_sort(self, values: list[int], low: int, length: int) -> None:
        if length > 1:
            half = length // 2
            self.odd_even_sort(values, low, half)
            self.odd_even_sort(values, low + half, half)
            self.odd_even_merge(values, low, length, 1)

    def sorted(self, values: list[int]) -> list[int]:
        padded = values + [INFINITY] * (_power_of_two(len(values)) - len(values))
        self.odd_even_sort(padded, 0, len(padded))
        return padded[: len(values)]

    def merged(self, first: list[int], second: list[int]) -> list[int]:
        half = _power_of_two(max(len(first), len(second)))
        padded = first + [INFINITY] * (half - len(first)) + second + [INFINITY] * (half - len(second))
        self.odd_even_merge(padded, 0, 2 * half, 1)
        return padded[: len(first) + len(second)]


def _power_of_two(number: int) -> int:
    return 1 << (number - 1).bit_length()


def _medians(network: _Network, window: int, first: int, outputs: int, candidates: list[int]) -> list[int]:
    """The medians of outputs `first..first+outputs-1`.

    `candidates` are `outputs` sorted values around the median of rows `first+outputs-1..first+window-1`, which all
    these windows share.
    """
    if outputs == 1:
        return candidates
    half = outputs // 2
    before = list(range(first + half - 1, first + outputs - 1))  # shared by the first half only
    after = list(range(first + window, first + window + half))  # shared by the second half only
    medians = []
    for start, extra in ((first, before), (first + half, after)):
        merged = network.merged(candidates, network.sorted(extra))
        medians += _medians(network, window, start, half, merged[half:outputs])
    return medians


@cache
def sorting_pairs(length: int) -> NDArray[np.int32]:
    """Pairs (i, j) that sort `length` values (a power of two) where the smaller of each two is put first, int32 [pairs, 2]."""
    pairs = []
    p = 1
    while p < length:  # Batcher's odd-even merge sort, as above
        k = p
        while k:
            starts = np.arange(k % p, length - k, 2 * k)[:, None] + np.arange(k)
            i = starts[starts + k < length]
            i = i[i // (2 * p) == (i + k) // (2 * p)]
            pairs.append(np.stack((i, i + k), axis=1))
            k //= 2
        p *= 2
    return np.concatenate(pairs).astype(np.int32)


@cache
def build(window: int = 31, outputs: int = 16) -> Program:
    """The program for `outputs` (a power of two, at most half the window) neighbouring medians of odd `window`."""
    half = window // 2
    if window % 2 == 0 or outputs & (outputs - 1) or outputs > half + 1:
        raise ValueError(f"no network for windows of {window} and {outputs} outputs")
    network = _Network(window + outputs - 1)
    core = network.sorted(list(range(outputs - 1, window)))
    results = _medians(network, window, 0, outputs, core[half - (outputs - 1) : half + 1])
    return _allocate(network, window, results)


def _allocate(network: _Network, window: int, results: list[int]) -> Program:
    """Drop dead operations and give each live value a register, reused after the value's last use."""
    inputs = network.inputs
    live: set[int] = set()
    pending = [value for value in results if value >= inputs]
    while pending:
        value = pending.pop()
        if value not in live:
            live.add(value)
            pending += [source for source in network.operations[value - inputs][1:] if source >= inputs]
    order = sorted(live)
    last_use = {source: value for value in order for source in network.operations[value - inputs][1:]}
    kept = set(results)
    register: dict[int, int] = {}
    free: list[int] = []
    count = 0
    steps = []
    for value in order:
        operation, a, b = network.operations[value - inputs]
        free += [
            register[source]
            for source in sorted({a, b})
            if source >= inputs and last_use[source] == value and source not in kept
        ]
        if free:
            register[value] = free.pop()
        else:
            register[value] = count
            count += 1
        steps.append(Step(operation, register.get(a, a), a < inputs, register.get(b, b), b < inputs, register[value]))
    return Program(window, len(results), count, tuple(steps), tuple(register[value] for value in results))
