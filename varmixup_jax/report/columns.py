"""The measures of a table: how each is taken from a run, named and printed."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

from varmixup_jax.report.measures import WORST_CASE, Board, Measures, adversarial_metrics
from varmixup_jax.report.names import BENCHMARK, CORRUPTION_FAMILIES

RADIUS = 8  # of the local linearity error, in 1/255, where it was measured
KINDS = tuple(kind for kind, names in CORRUPTION_FAMILIES.items() if set(names) <= set(BENCHMARK))


class Column(NamedTuple):
    """One measure of the table: how to take it from a run and how to print it.

    Attributes:
      better: "high", "low" or None where neither is better.
      scale: what a value is multiplied by for print (100 for percent).
    """

    key: str
    title: str
    unit: str
    better: str | None
    digits: int
    scale: float
    value: Callable[[Measures], float | None]

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

    def clean(metric: str) -> Callable[[Measures], float | None]:
        return lambda m: m.clean(metric)

    def corrupted(metric: str) -> Callable[[Measures], float | None]:
        return lambda m: m.corrupted(metric)

    scale, unit = _time_unit(board)
    every = [
        Column("clean", "Clean acc.", "%", "high", 2, 100, clean("accuracy")),
        Column("corrupted", "Corrupted acc.", "%", "high", 2, 100, corrupted("accuracy")),
        Column("nll", "NLL", "nats", "low", 3, 1, clean("nll")),
        Column("ece", "ECE clean", "%", "low", 2, 100, clean("ece")),
        Column("ece_corrupted", "ECE corrupted", "%", "low", 2, 100, corrupted("ece")),
        Column("oe", "Overconf. error", "%", "low", 2, 100, clean("overconfidence_error")),
        *(
            Column(name, f"{_attack(name)} acc.", "%", "high", 2, 100, clean(name))
            for name in adversarial_metrics(board.groups)
        ),
        _linearity(board),
        Column("wall", "Wall time", unit, None, 1, scale, _wall_seconds),
    ]  # fmt: skip
    if board.baseline is not None:
        base = board.baseline
        mce = Column("mce", f"mCE vs {base.run.name}", "%", "low", 1, 100, lambda m: m.mce(base))
        every.insert(2, mce)
    if keys is not None:
        kinds = [
            Column(kind, kind.capitalize(), "%", "high", 2, 100, partial(_by_kind, kind))
            for kind in KINDS
        ]
        known = {column.key: column for column in [*every, *kinds]}
        every = [known[key] for key in keys if key in known]
    return [column for column in every if any(group.stat(column.value) for group in board.groups)]


def _by_kind(kind: str, measures: Measures) -> float | None:
    return measures.corrupted("accuracy", names=CORRUPTION_FAMILIES[kind])


def _linearity(board: Board) -> Column:
    """The local linearity error at `RADIUS` or, where no run has it, at the greatest radius."""
    errors = [member.linearity() for group in board.groups for member in group.members]
    radii = {radius for found in errors for radius in found}
    radius = RADIUS if RADIUS in radii or not radii else max(radii)
    largest = max((found.get(radius, 0.0) for found in errors), default=0.0)
    digits = 2 if largest >= 1 else 4
    title = f"Lin. error at {radius:g}/255"
    return Column("linearity", title, "nats", "low", digits, 1, lambda m: m.linearity().get(radius))


def _wall_seconds(measures: Measures) -> float | None:
    value: Any = measures.run.summary.get("wall_seconds")
    return value if isinstance(value, (int, float)) else None


def _time_unit(board: Board) -> tuple[float, str]:
    walls = [_wall_seconds(member) or 0.0 for group in board.groups for member in group.members]
    longest = max(walls, default=0.0)
    if longest < 180:
        return 1.0, "s"
    return (1 / 60, "min") if longest < 3 * 3600 else (1 / 3600, "h")


def _attack(metric: str) -> str:
    if metric == WORST_CASE:
        return "Worst-case adv."
    name = metric.removesuffix("_accuracy")
    return re.sub(r"^(a?pgd)(\d+)", lambda m: f"{m[1].upper()}-{m[2]}", name).replace("_", " ")
