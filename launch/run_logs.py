"""The log files of the runs of a sweep."""

from __future__ import annotations

from pathlib import Path

TAIL_BYTES = 1 << 16


def last_lines(log: Path, count: int) -> list[str]:
    """The last non-blank lines, at most `count`; none if there is no log."""
    if not log.exists():
        return []
    with log.open("rb") as file:
        file.seek(-min(TAIL_BYTES, log.stat().st_size), 2)
        text = file.read().decode(errors="replace")
    return [line.rstrip() for line in text.splitlines() if line.strip()][-count:]
