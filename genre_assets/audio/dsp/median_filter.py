"""The running median over rows, in NumPy: runs the program of `median_network` on blocks that stay in the cache."""

import numpy as np
from numpy.typing import NDArray

from genre_assets.audio.dsp import median_network
from genre_assets.audio.dsp.filters import Floats

Numbers = NDArray[np.int_]

WINDOW = 31
BLOCK_VALUES = 12_288  # values of one register: the two dozen registers then fit in the second-level cache


def median_rows(values: Floats) -> Floats:
    """Median of 31 neighbouring rows for every row and column: float32 [rows, columns] -> the same shape.

    Equal to `scipy.ndimage.median_filter(values, size=(31, 1), mode="reflect")`, bit for bit, a hundred times faster.
    """
    program = median_network.build(WINDOW)
    rows, columns = values.shape
    size = program.outputs
    groups = -(-rows // size)
    # Row k of every group lies together with row k of the next: each operand of a step is then one piece of memory.
    beyond = -(-program.inputs // size)
    order = _mirrored(np.arange((groups + beyond) * size) - WINDOW // 2, rows)
    rows_of = values[order.reshape(-1, size).T.ravel()].reshape(size, -1)
    result = np.empty((size, groups * columns), np.float32)
    at_once = max(1, BLOCK_VALUES // columns)
    registers = np.empty((program.registers, at_once * columns), np.float32)
    steps = [
        (
            np.minimum if step.operation == "min" else np.maximum,
            step.a if step.a_is_input else step.a + program.inputs,
            step.b if step.b_is_input else step.b + program.inputs,
            step.target + program.inputs,
        )
        for step in program.steps
    ]
    for first in range(0, groups, at_once):
        count = min(at_once, groups - first)
        places = [(first + k // size) * columns for k in range(program.inputs)]
        operands = [rows_of[k % size, place : place + count * columns] for k, place in enumerate(places)]
        operands += [register[: count * columns] for register in registers]
        for operation, a, b, target in steps:
            operation(operands[a], operands[b], out=operands[target])
        for k, register in enumerate(program.results):
            result[k, first * columns : (first + count) * columns] = operands[register + program.inputs]
    return result.reshape(size, groups, columns).transpose(1, 0, 2).reshape(-1, columns)[:rows]


def _mirrored(numbers: Numbers, rows: int) -> Numbers:
    """Which row stands for each number where `rows` rows are mirrored at both ends, edge row included."""
    turn = numbers % (2 * rows)
    return np.minimum(turn, 2 * rows - 1 - turn)
