"""Timing by alternating medians, and the rows made from them.

Variants take turns in one process (ours, peer, ours, peer, ...), so that a slow phase of the machine
affects all of them alike. A row never shows a time alone: it has ours, a peer's and their ratio.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple


class Row(NamedTuple):
    """Two variants of one piece of work.

    Attributes:
      what: the work.
      ours_name, peer_name: the variants.
      ours, peer: medians, in `unit`.
      unit: "ms", "s", "MiB", "TFLOP/s", ...
      ratio: ours / peer.
      low, high: smallest and largest ratio within a repeat (`ratio`, for two single figures).
      repeats: number of repeats that the medians are taken over.
      goal: what `ratio` should be at most (at least, if `at_least`), or None.
      at_least: the sense of the goal.
      error: why there are no figures, else "".
    """

    what: str
    ours_name: str = ""
    peer_name: str = ""
    ours: float | None = None
    peer: float | None = None
    unit: str = "ms"
    ratio: float | None = None
    low: float | None = None
    high: float | None = None
    repeats: int = 0
    goal: float | None = None
    at_least: bool = False
    error: str = ""

    def met(self) -> bool | None:
        """Whether the goal is met; None without a goal or without figures."""
        if self.goal is None or self.ratio is None:
            return None
        return self.ratio >= self.goal if self.at_least else self.ratio <= self.goal


def alternate(
    variants: Mapping[str, Callable[[], object]], *, repeats: int, seconds: float = 0.3
) -> dict[str, list[float]]:
    """Seconds per call of each variant, `repeats` times, the variants taking turns.

    Each variant is called twice before the clock starts (it compiles), and within a repeat as many
    times in a row as fit in about `seconds`.

    Args:
      variants: name -> a call that returns when its work is done.
      repeats: >= 1.
      seconds: the length of one measurement; a call that takes longer is made once.

    Returns:
      name -> seconds per call, one entry per repeat.
    """
    calls = {}
    for name, call in variants.items():
        call()
        calls[name] = max(1, round(seconds / max(_clock(call, 1), 1e-9)))
    times: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(repeats):
        for name, call in variants.items():
            times[name].append(_clock(call, calls[name]))
    return times


def _clock(call: Callable[[], object], count: int) -> float:
    start = time.perf_counter()
    for _ in range(count):
        call()
    return (time.perf_counter() - start) / count


def compared(
    what: str,
    times: Mapping[str, list[float]],
    ours: str,
    peer: str,
    *,
    goal: float | None = None,
    unit: str = "ms",
    label: str | None = None,
) -> Row:
    """A row from `alternate`'s result: ratio of the medians, and the range over the repeats."""
    scale = {"ms": 1e3, "s": 1.0, "us": 1e6}[unit]
    a, b = times[ours], times[peer]
    medians = statistics.median(a), statistics.median(b)
    each = [x / y for x, y in zip(a, b, strict=True)]
    return Row(
        what,
        label or ours,
        peer,
        medians[0] * scale,
        medians[1] * scale,
        unit,
        medians[0] / medians[1],
        min(each),
        max(each),
        len(a),
        goal,
    )


def figures(
    what: str,
    ours: tuple[str, float],
    peer: tuple[str, float],
    unit: str,
    *,
    goal: float | None = None,
    at_least: bool = False,
    repeats: int = 1,
) -> Row:
    """A row of two figures that are not times, or of medians taken elsewhere."""
    ratio = ours[1] / peer[1]
    return Row(
        what,
        ours[0],
        peer[0],
        float(ours[1]),
        float(peer[1]),
        unit,
        ratio,
        ratio,
        ratio,
        repeats,
        goal,
        at_least,
    )
