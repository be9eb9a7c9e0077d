"""Keeping freed memory for the next clip.

A clip needs a few arrays of 5 to 10 MB. glibc takes such blocks from the kernel anew each time, page by page, which is a
fifth of the cost of a clip; told to keep them, it uses them again.
"""

import ctypes
from functools import cache

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of <malloc.h>
_KEPT = 128 << 20  # bytes at the top of the heap that are not given back
_LARGEST = 32 << 20  # glibc's own maximum for blocks taken from the heap


@cache
def keep_freed_memory() -> bool:
    """Ask for it, once in this process; False where the C library is not glibc."""
    try:
        library = ctypes.CDLL("libc.so.6")
        return bool(library.mallopt(_M_MMAP_THRESHOLD, _LARGEST)) and bool(library.mallopt(_M_TRIM_THRESHOLD, _KEPT))
    except (OSError, AttributeError):
        return False
