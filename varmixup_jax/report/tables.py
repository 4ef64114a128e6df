"""The results tables: rows × measures, the best of each column marked, next to the paper's numbers."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from varmixup_jax.report.labels import vae_remarks
from varmixup_jax.report.measures import (
    WORST_CASE,
    Board,
    Group,
    Stat,
    adversarial_metrics,
    mean_of_some,
    radii,
)
from varmixup_jax.report.names import KINDS, METHODS
from varmixup_jax.report.paper_numbers import CITATION, MEASURES, published

RADIUS = 8  # of the local linearity error, in 1/255, if it was measured there
_ACCURACY, _REST = ("clean", "corrupted"), ("ece", "ece_corrupted", "linearity")
LAYOUTS: Mapping[str, tuple[str, ...] | None] = {  # the columns' keys
    "full": None,
    "short": (*_ACCURACY, *_REST),
    "kinds": (*_ACCURACY, *KINDS, *_REST),
}
BESIDE_THE_PAPER = ("full", "short")  # layouts that have columns for the paper's numbers
PAPER_PREFIX = "Paper: "  # begins the headings of columns that are not ours


class Column(NamedTuple):
    """One measure of the table: which number of a run it is and how to print it.

    Attributes:
      better: "high", "low" or None if neither is better.
      digits: after the decimal point.
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

    def text(self, stat: Stat | None, runs: int) -> str:
        """`mean ± std`, with (n = ...) if fewer seeds than `runs` have the measure."""
        if stat is None:
            return "–"
        mean = f"{stat.mean * self.scale:.{self.digits}f}"
        spread = "" if stat.std is None else f" ± {stat.std * self.scale:.{self.digits}f}"
        return f"{mean}{spread}{'' if stat.n == runs else f' (n = {stat.n})'}"


class Cell(NamedTuple):
    """A printed cell; `best` cells are set in bold."""

    text: str
    best: bool = False


class Grid(NamedTuple):
    """A table ready to be written: headings, one list of cells per row, remarks below it."""

    title: str
    headings: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    remarks: tuple[str, ...] = ()


def columns(board: Board, keys: Sequence[str] | None = None) -> list[Column]:
    """The measures that at least one run of the board has, in the order of the table.

    Args:
      board: the finished runs.
      keys: which ones, out of the columns' keys and `KINDS` (mean accuracy under a kind of
        corruption), in their order; None for all except the kinds.
    """
    members = [numbers for group in board.groups for numbers in group.numbers]
    longest = max((m.get(("wall_seconds", "clean"), 0.0) for m in members), default=0.0)
    scale, unit = (1.0, "s") if longest < 180 else (1 / 60, "min")
    if longest >= 3 * 3600:
        scale, unit = 1 / 3600, "h"
    base = board.baseline.name if board.baseline is not None else ""
    attacks = adversarial_metrics(members)
    rows = [
        ("clean", "Clean acc.", "%", "high", 2, 100, ("accuracy", "clean")),
        ("corrupted", "Corrupted acc.", "%", "high", 2, 100, ("accuracy", "corrupted")),
        ("mce", f"mCE vs {base}", "%", "low", 1, 100, ("mce", "corrupted")),
        ("nll", "NLL", "nats", "low", 3, 1, ("nll", "clean")),
        ("ece", "ECE clean", "%", "low", 2, 100, ("ece", "clean")),
        ("ece_corrupted", "ECE corrupted", "%", "low", 2, 100, ("ece", "corrupted")),
        ("oe", "Overconf. error", "%", "low", 2, 100, ("overconfidence_error", "clean")),
        *((name, _attack(name), "%", "high", 2, 100, (name, "clean")) for name in attacks),
        *_linearity(board),
        ("wall", "Wall time", unit, None, 1, scale, ("wall_seconds", "clean")),
    ]
    if keys is not None:
        kinds = [(k, k.capitalize(), "%", "high", 2, 100, ("accuracy", k)) for k in KINDS]
        known = {row[0]: row for row in [*rows, *kinds]}
        rows = [known[key] for key in keys if key in known]
    found = [Column(*row) for row in rows]
    return [c for c in found if any(group.stat(*c.number) for group in board.groups)]


def results(board: Board, layout: str = "full") -> Grid:
    """The table of one data set: mean ± sample standard deviation over seeds.

    If the paper has numbers for the data set, its columns are next to ours, for rows in which the
    method has its default settings.

    Args:
      board: the finished runs.
      layout: one of `LAYOUTS`.
    """
    table = {"Method": [Cell(group.label) for group in board.groups]}
    if board.seeds > 1:
        table["Seeds"] = [Cell(str(len(group.runs))) for group in board.groups]
    for column in columns(board, LAYOUTS[layout]):
        stats = [group.stat(*column.number) for group in board.groups]
        best = _best(column, stats)
        table[column.heading] = [
            Cell(column.text(stat, len(group.runs)), i in best)
            for i, (group, stat) in enumerate(zip(board.groups, stats, strict=True))
        ]
        papers = [paper_row(board, group) for group in board.groups]
        if layout in BESIDE_THE_PAPER and column.key in MEASURES and any(papers):
            heading = f"{PAPER_PREFIX}{column.title.lower()} ({column.unit})"
            texts = ("{:.2f} ± {:.2f}".format(*row[column.key]) if row else "–" for row in papers)
            table[heading] = list(map(Cell, texts))
    title = f"{board.title}, {board.split} set"
    paper = any(heading.startswith(PAPER_PREFIX) for heading in table)
    rows = tuple(zip(*table.values(), strict=True))
    return Grid(title, tuple(table), rows, tuple(remarks(board, paper)))


def paper_and_beyond(board: Board, layout: str = "short") -> list[Grid]:
    """Two tables: the paper's methods with its settings, and everything beyond the paper.

    A row is the paper's if its method is one of the nine with its default settings. The remarks are
    below the last table and cover both; a table without rows is left out.
    """
    of_paper = [g for g in board.groups if g.method in METHODS and not g.changed]
    beyond = [g for g in board.groups if g not in of_paper]
    grids = []
    for groups, name in ((of_paper, "the paper's methods"), (beyond, "beyond the paper")):
        if groups:
            grid = results(board._replace(groups=tuple(groups)), layout)
            grids.append(grid._replace(title=f"{grid.title}: {name}", remarks=()))
    if grids:
        paper = any(paper_row(board, group) for group in board.groups)
        grids[-1] = grids[-1]._replace(remarks=tuple(remarks(board, paper)))
    return grids


def paper_row(board: Board, group: Group) -> dict[str, tuple[float, float]] | None:
    """The paper's numbers for a row; None if a setting of the method is not the default."""
    return None if group.changed else published(board.dataset, group.method)


def remarks(board: Board, paper: bool) -> list[str]:
    """One line each: setup, what is averaged and marked, VAEs, sources, what is left out.

    Args:
      board: the finished runs.
      paper: whether the paper's numbers are next to them.
    """
    runs = [run for group in board.groups for run in group.runs]
    found = [numbers for group in board.groups for numbers in group.numbers]
    lines = [f"Set-up: {set_up(board)}."]
    if board.seeds > 1:
        lines.append(
            "Mean ± sample standard deviation over seeds; the best mean of a column in bold."
        )
    elif len(board.groups) > 1:
        lines.append("One seed each; the best of a column in bold.")
    if any(("accuracy", "corrupted") in numbers for numbers in found):
        lines.append("Corrupted: mean over the 15 corruptions × 5 severities; extras left out.")
    for run, numbers in zip(runs, found, strict=True):
        some = mean_of_some(numbers)
        if some is not None:
            what, mean = some
            lines.append(f"{run.name}: {100 * mean:.2f} % corrupted acc., {what}.")
    lines += vae_remarks(runs)
    here = (board.dataset, board.split)
    rows = [row for run in runs for row in run.rows if (row.dataset, row.split) == here]
    notes = sorted({note for row in rows for note in row.notes})
    for name, values in itertools.groupby(notes, key=lambda note: note[0]):
        told = ", ".join(value for _, value in values)
        lines.append(f"{name.replace('_', ' ').capitalize()}: {told}.")
    for run in board.repeats:
        lines.append(f"{run.name} repeats a seed of the same configuration and is left out.")
    if paper:
        lines.append(f"Paper: as printed in {CITATION}; set-ups differ, not a reproduction.")
    return lines


def set_up(board: Board) -> str:
    """What was trained on what: values that differ between runs are listed side by side."""
    runs = [run for group in board.groups for run in group.runs]

    def values(field: str, source: str = "config") -> str:
        found = dict.fromkeys(str(getattr(run, source).get(field, "")) for run in runs)
        return " or ".join(value.removesuffix(".0") for value in found if value)

    parts = [values("model.name")]
    for field, source, text in (
        ("model.width", "config", "width {}"),
        ("epochs", "summary", "{} epochs"),
        ("batch_size", "config", "batch {}"),
        ("data.limit", "config", "{} training images"),
        ("eval.examples", "config", "{} test images"),
        ("device", "summary", "on {}"),
    ):
        value = values(field, source)
        if value not in ("", "0"):
            parts.append(text.format(value))
    return ", ".join(part for part in parts if part)


def _linearity(board: Board) -> list[tuple]:
    """The local linearity error at `RADIUS` or, if no run has it, at the largest radius."""
    names = radii(number for group in board.groups for number in group.stats)
    if not names:
        return []
    radius = RADIUS if RADIUS in names else max(names)
    name = (names[radius], "clean")
    values = [numbers.get(name, 0.0) for group in board.groups for numbers in group.numbers]
    digits = 2 if max(values) >= 1 else 4
    return [("linearity", f"Lin. error at {radius:g}/255", "nats", "low", digits, 1, name)]


def _attack(metric: str) -> str:
    if metric == WORST_CASE:
        return "Worst-case adv. acc."
    name = metric.removesuffix("_accuracy")
    name = re.sub(r"^(a?pgd)(\d+)", lambda m: f"{m[1].upper()}-{m[2]}", name)
    return f"{name.replace('_', ' ')} acc."


def _best(column: Column, stats: Sequence[Stat | None]) -> set[int]:
    """Rows with the best mean as printed (including ties); none if all are equal."""
    found = {
        i: round(s.mean * column.scale, column.digits)
        for i, s in enumerate(stats)
        if s is not None and math.isfinite(s.mean)
    }
    if column.better is None or len(set(found.values())) < 2:
        return set()
    top = max(found.values()) if column.better == "high" else min(found.values())
    return {i for i, value in found.items() if value == top}
