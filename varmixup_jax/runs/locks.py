"""Locks a directory for one run at a time, on file systems with and without lock support."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

POLL_SECONDS = 0.2
SAY_SECONDS = 60.0
NO_LOCKS = (
    errno.ENOSYS,
    errno.ENOLCK,
    errno.EOPNOTSUPP,
)  # network file systems without a lock server


class Held(ValueError):
    """Another process holds the directory; the message names that process."""


@contextmanager
def locked(directory: Path, waiting: Callable[[str], None] | None = None) -> Iterator[None]:
    """Holds a directory inside the block; the lock ends with its process, however that ends.

    The lock is `flock` on the file `.lock`, which names its holder. Where the file system has no
    locks, a file `.lock.held`, created exclusively, is used instead, with a warning: one left by
    `kill -9` is recognised as stale on the same host, and must be removed by hand on another.

    Args:
      directory: created if missing.
      waiting: called at once and then every minute with who holds it, and for how long; None
        refuses instead of waiting.

    Raises:
      Held: another process holds it.
      OSError: the directory cannot be made or written to.
    """
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / ".lock").open("a+", encoding="utf-8") as handle:
        mark, said, began = directory / ".lock.held", 0, time.monotonic()
        while (holder := _held_by(handle, mark)) is not None:
            if waiting is None:
                raise Held(holder)
            passed = time.monotonic() - began
            if passed >= said * SAY_SECONDS:
                waiting(f"{holder} ({passed:.0f} s)")
                said += 1
            time.sleep(POLL_SECONDS)
        marked = mark.exists() and mark.read_text(encoding="utf-8") == _me()
        if marked:
            text = f"the file system of {directory} has no locks; using {mark.name} instead"
            warnings.warn(text, stacklevel=4)
        try:
            yield
        finally:
            if marked:
                mark.unlink(missing_ok=True)


def _held_by(handle: TextIO, mark: Path) -> str | None:
    """Takes the lock, or creates the file used instead: None on success, else the holder."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        handle.seek(0)
        return _named(handle.read())
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        return _marked(mark)
    handle.truncate(0)
    handle.write(_me())
    handle.flush()
    return None


def _marked(mark: Path) -> str | None:
    """Creates the file used instead of a lock: None on success, else the holder."""
    try:
        with mark.open("x", encoding="utf-8") as file:
            file.write(_me())
        return None
    except FileExistsError:
        holder = mark.read_text(encoding="utf-8") if mark.exists() else ""
    host, _, process = holder.partition(" ")
    if host == socket.gethostname() and process.isdecimal() and not _lives(int(process)):
        mark.unlink(missing_ok=True)
        return _marked(mark)
    return f"{_named(holder)}; if that has ended, remove {mark}"


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's process
        return True
    return True


def _me() -> str:
    return f"{socket.gethostname()} {os.getpid()}"


def _named(holder: str) -> str:
    host, _, process = holder.partition(" ")
    return f"process {process} on {host}" if process else "another process"
