"""Decides whether an unreadable checkpoint is damaged, or the read failed temporarily."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from jax.errors import JaxRuntimeError

from varmixup_jax.checks import reason

T = TypeVar("T")
PAUSES = (0.1, 0.5, 2.0)  # seconds before each retry
# OSErrors too, but due to what is stored there, not to a failing disk.
PLACES = (FileNotFoundError, NotADirectoryError, IsADirectoryError)


class Damaged(ValueError):
    """The stored bytes read the same each time and differ from what was written."""


def read_whole(read: Callable[[], T], place: Path) -> T:
    """`read()`, retried if the disk, the memory or the device fails.

    Such an error says nothing about the bytes. Any other error is only a suspicion: the parsing
    library may have hit such a failure and raised another error. It counts as damage if a second
    try fails on the same bytes, compared without that library.

    Args:
      read: raises if it cannot parse what it reads.
      place: the file or directory that it reads.

    Raises:
      Damaged: names the path, and what `read` found wrong.
      OSError, MemoryError, JaxRuntimeError: of the last try, as it was raised.
    """
    suspected = set()
    pauses = iter(PAUSES)
    while True:
        try:
            return read()
        except Exception as error:  # Orbax raises many types of errors for damaged files
            failure = error
        if not passing(failure):
            try:
                found = fingerprint(place)
            except OSError as unreadable:
                failure = unreadable  # and so `read` cannot know
            else:
                if found in suspected:
                    raise Damaged(f"{place} cannot be read ({_why(failure)})") from failure
                suspected.add(found)
        pause = next(pauses, None)
        if pause is None:
            raise failure
        time.sleep(pause)


def passing(error: BaseException) -> bool:
    """Whether an error, or what caused it, may be temporary.

    >>> passing(OSError(5, "Input/output error")), passing(ValueError("no JSON"))
    (True, False)
    """
    return any(
        (isinstance(one, (OSError, MemoryError, JaxRuntimeError)) and not isinstance(one, PLACES))
        or "RESOURCE_EXHAUSTED" in str(one)  # some calls raise a ValueError with this status
        for one in _causes(error)
    )


def fingerprint(place: Path) -> str:
    """sha256 over the names and bytes of a file, or of all files below a directory."""
    total = hashlib.sha256()
    for path in _files(place):
        content = path.read_bytes()
        total.update(f"{path.relative_to(place)} {len(content)} ".encode())
        total.update(content)
    return total.hexdigest()


def _files(place: Path) -> list[Path]:
    def fail(error: OSError) -> None:
        raise error  # `Path.rglob` would skip a directory that cannot be listed

    if not place.is_dir():
        return [place]
    below = os.walk(place, onerror=fail)
    return sorted(Path(folder, name) for folder, _, names in below for name in names)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _why(error: BaseException) -> str:
    while error.__cause__ is not None:  # the original error says more than its wrappers
        error = error.__cause__
    return reason(error)
