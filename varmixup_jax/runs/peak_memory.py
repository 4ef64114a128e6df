"""Memory of this process: the peak of a run, and returning free memory to the system."""

from __future__ import annotations

import ctypes
import gc
import re
from collections.abc import Callable
from pathlib import Path

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def begin_peak() -> bool:
    """Resets the peak to what is resident now; returns whether the system supports it.

    Linux keeps one high-water mark for the life of a process; writing 5 to its own `clear_refs`
    resets it, which needs no privilege.
    """
    try:
        CLEAR.write_text("5", encoding="ascii")
    except OSError:
        return False
    return True


def peak_mib() -> float | None:
    """Peak resident memory since `begin_peak`, in MiB; None where the system does not report it."""
    try:
        found = re.search(r"^VmHWM:\s*(\d+) kB", STATUS.read_text(encoding="ascii"), re.MULTILINE)
    except OSError:
        return None
    return round(int(found[1]) / 1024, 1) if found else None


def hand_back() -> None:
    """Returns free heap memory to the system.

    Compiling a run's programs briefly takes hundreds of megabytes, in small pieces that glibc would
    keep for the whole sweep, which never needs them again.
    """
    gc.collect()
    trim = _trim()
    if trim is not None:
        trim(0)


def _trim() -> Callable[[int], int] | None:
    """glibc's `malloc_trim`; other C libraries have none."""
    return getattr(ctypes.CDLL(None), "malloc_trim", None)
