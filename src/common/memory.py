"""The process's memory: its peak, and one setting of the C library that decides much of a step's time on Linux."""

from __future__ import annotations

import ctypes
import gc
import resource
import sys
from pathlib import Path

import torch

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


def forget_peak(device: torch.device | None = None) -> bool:
    """Let the peaks begin anew at what the process holds now, before a trial of several; True where Linux can.

    What an earlier trial has freed goes back to the system first, or it would count as this one's.
    """
    gc.collect()
    if sys.platform.startswith("linux") and (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)):
        trim(0)
    # Before a GPU's first use there is nothing to forget, and torch refuses.
    if device is not None and device.type == "cuda" and torch.cuda.is_initialized():
        torch.cuda.reset_peak_memory_stats(device)
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


def peak_mb() -> float:
    """The most memory (RSS) that the process held since `forget_peak`, or since its start, in MB."""
    try:
        status = Path("/proc/self/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) / 1024
    except (OSError, IndexError):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak / (2**20 if sys.platform == "darwin" else 1024)


def gpu_peak_mb(device: torch.device) -> float | None:
    """The most memory of tensors on a GPU since `forget_peak`, in MB; None on a CPU."""
    return torch.cuda.max_memory_allocated(device) / 2**20 if device.type == "cuda" else None
