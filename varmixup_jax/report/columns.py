"""The measures of a table: which number each shows, how it is named and printed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from varmixup_jax.report.measures import WORST_CASE, Board, adversarial_metrics, radii
from varmixup_jax.report.names import KINDS

RADIUS = 8  # of the local linearity error, in 1/255, where it was measured


class Column(NamedTuple):
    """One measure of the table: which number of a run it is and how to print it.

    Attributes:
      better: "high", "low" or None where neither is better.
      digits: after the point.
      scale: what a value is multiplied by for print (100 for percent).
      number: measure and condition.
    """

    key: str
    title: str
    unit: str
    better: str | None
    digits: int
    scale: float
    number: tuple[str, str]

    @property
    def heading(self) -> str:
        """Title, unit and the direction of improvement."""
        arrow = {"high": "\u00a0↑", "low": "\u00a0↓", None: ""}[self.better]
        return f"{self.title}{f' ({self.unit})' if self.unit else ''}{arrow}"


def columns(board: Board, keys: Sequence[str] | None = None) -> list[Column]:
    """The measures that at least one run of the board has, in the order of the table.

    Args:
      board: the finished runs.
      keys: those that are wanted, of the columns' keys and of `KINDS` (mean accuracy under a kind
        of corruption), in their order; None for all but the kinds.
    """
    members = [numbers for group in board.groups for numbers in group.numbers]
    scale, unit = _time_unit([m.get(("wall_seconds", "clean"), 0.0) for m in members])
    base = board.baseline.name if board.baseline is not None else ""
    rows = [
        ("clean", "Clean acc.", "%", "high", 2, 100, ("accuracy", "clean")),
        ("corrupted", "Corrupted acc.", "%", "high", 2, 100, ("accuracy", "corrupted")),
        ("mce", f"mCE vs {base}", "%", "low", 1, 100, ("mce", "corrupted")),
        ("nll", "NLL", "nats", "low", 3, 1, ("nll", "clean")),
        ("ece", "ECE clean", "%", "low", 2, 100, ("ece", "clean")),
        ("ece_corrupted", "ECE corrupted", "%", "low", 2, 100, ("ece", "corrupted")),
        ("oe", "Overconf. error", "%", "low", 2, 100, ("overconfidence_error", "clean")),
        *(
            (name, f"{_attack(name)} acc.", "%", "high", 2, 100, (name, "clean"))
            for name in adversarial_metrics(members)
        ),
        *_linearity(board),
        ("wall", "Wall time", unit, None, 1, scale, ("wall_seconds", "clean")),
    ]
    if keys is not None:
        kinds = [(k, k.capitalize(), "%", "high", 2, 100, ("accuracy", k)) for k in KINDS]
        known = {row[0]: row for row in [*rows, *kinds]}
        rows = [known[key] for key in keys if key in known]
    found = [Column(*row) for row in rows]
    return [c for c in found if any(group.stat(*c.number) for group in board.groups)]


def _linearity(board: Board) -> list[tuple]:
    """The local linearity error at `RADIUS` or, where no run has it, at the greatest radius."""
    names = radii(number for group in board.groups for number in group.stats)
    if not names:
        return []
    radius = RADIUS if RADIUS in names else max(names)
    name = (names[radius], "clean")
    values = [numbers.get(name, 0.0) for group in board.groups for numbers in group.numbers]
    digits = 2 if max(values) >= 1 else 4
    return [("linearity", f"Lin. error at {radius:g}/255", "nats", "low", digits, 1, name)]


def _time_unit(walls: Sequence[float]) -> tuple[float, str]:
    longest = max(walls, default=0.0)
    if longest < 180:
        return 1.0, "s"
    return (1 / 60, "min") if longest < 3 * 3600 else (1 / 3600, "h")


def _attack(metric: str) -> str:
    if metric == WORST_CASE:
        return "Worst-case adv."
    name = metric.removesuffix("_accuracy")
    return re.sub(r"^(a?pgd)(\d+)", lambda m: f"{m[1].upper()}-{m[2]}", name).replace("_", " ")
