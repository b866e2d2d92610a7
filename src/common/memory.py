"""The process's memory: one setting of the C library that decides much of a training step's time on Linux."""

from __future__ import annotations

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # parameter numbers of mallopt(3)


def keep_freed_memory() -> bool:
    """Ask glibc to keep freed blocks for the next allocation; True where that could be said.

    By default it gives large blocks back to the system, and every step gets its tensors of some megabytes anew,
    page by page: a third of LightGCN's time per epoch (docs/performance.md).
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return bool(mallopt and mallopt(_MMAP_MAX, 0) and mallopt(_TRIM_THRESHOLD, 2**31 - 1))
