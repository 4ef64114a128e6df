"""The results table: methods × measures, the best of each column marked, the paper beside it."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from varmixup_jax.report.measures import WORST_CASE, Board, Measures, Stat, adversarial_metrics
from varmixup_jax.report.names import METHODS
from varmixup_jax.report.poster import CITATION, MEASURES, PAPER, published

PAPER_PREFIX = "Paper: "  # begins the headings of columns that are not ours
TITLES = {
    "cifar10": "CIFAR-10",
    "cifar100": "CIFAR-100",
    "tiny_imagenet": "Tiny-ImageNet",
    "digits": "Digits",
}


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


class Cell(NamedTuple):
    """A printed cell; `best` cells are set in bold."""

    text: str
    best: bool = False


class Grid(NamedTuple):
    """A table ready to be written: headings, one list of cells per row, remarks below it."""

    title: str
    headings: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    remarks: tuple[str, ...]


def columns(board: Board) -> list[Column]:
    """The measures that at least one run of the board has, in the order of the table."""

    def clean(metric: str) -> Callable[[Measures], float | None]:
        return lambda m: m.clean(metric)

    def corrupted(metric: str) -> Callable[[Measures], float | None]:
        return lambda m: m.corrupted(metric)

    def linearity(m: Measures) -> float | None:
        return m.linearity().get(8)

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
        Column("linearity", "Lin. error at 8/255", "nats", "low", 4, 1, linearity),
        Column("wall", "Wall time", unit, None, 1, scale, _wall_seconds),
    ]  # fmt: skip
    if board.baseline is not None:
        base = board.baseline
        mce = Column("mce", f"mCE vs {base.run.name}", "%", "low", 1, 100, lambda m: m.mce(base))
        every.insert(2, mce)
    return [column for column in every if any(group.stat(column.value) for group in board.groups)]


def results(board: Board, *, every_method: bool = False) -> Grid:
    """The table of one data set: mean ± sample standard deviation over seeds.

    Where the paper has numbers for the data set, its columns stand beside ours.

    Args:
      board: the finished runs.
      every_method: add a row for each method that was not run, which says so.
    """
    shown = columns(board)
    rows = [[Cell(group.label), Cell(str(len(group.members)))] for group in board.groups]
    headings = ["Method", "Seeds"]
    for column in shown:
        stats = [group.stat(column.value) for group in board.groups]
        best = _best(column, stats)
        headings.append(column.heading)
        for i, (group, stat) in enumerate(zip(board.groups, stats, strict=True)):
            rows[i].append(Cell(stat_text(stat, column, len(group.members)), i in best))
        if board.dataset in PAPER and column.key in MEASURES:
            headings.append(f"{PAPER_PREFIX}{column.title.lower()} ({column.unit})")
            for cells, group in zip(rows, board.groups, strict=True):
                cells.append(Cell(_paper_text(board.dataset, group.method, column.key)))
    if every_method:
        ran = {group.method for group in board.groups}
        rows += [_not_run(board, name, shown) for name in METHODS if name not in ran]
    title = f"{TITLES.get(board.dataset, board.dataset)}, {board.split} set"
    paper = any(heading.startswith(PAPER_PREFIX) for heading in headings)
    return Grid(title, tuple(headings), tuple(map(tuple, rows)), tuple(_remarks(board, paper)))


def _not_run(board: Board, method: str, shown: Sequence[Column]) -> list[Cell]:
    cells = [Cell(method), Cell("not run")]
    for column in shown:
        cells.append(Cell("–"))
        if board.dataset in PAPER and column.key in MEASURES:
            cells.append(Cell(_paper_text(board.dataset, method, column.key)))
    return cells


def stat_text(stat: Stat | None, column: Column, runs: int) -> str:
    """`mean ± std`, with (n = ...) where fewer seeds than `runs` have the measure.

    >>> accuracy = Column("clean", "Clean acc.", "%", "high", 2, 100, lambda m: None)
    >>> stat_text(Stat(0.9391, 0.0045, 3), accuracy, 3)
    '93.91 ± 0.45'
    """
    if stat is None:
        return "–"
    mean = f"{stat.mean * column.scale:.{column.digits}f}"
    spread = "" if stat.std is None else f" ± {stat.std * column.scale:.{column.digits}f}"
    return f"{mean}{spread}{'' if stat.n == runs else f' (n = {stat.n})'}"


def _best(column: Column, stats: Sequence[Stat | None]) -> set[int]:
    """Rows with the best mean as printed (ties share it); none where all are equal."""
    found = {
        i: round(s.mean * column.scale, column.digits)
        for i, s in enumerate(stats)
        if s is not None and math.isfinite(s.mean)
    }
    if column.better is None or len(set(found.values())) < 2:
        return set()
    top = max(found.values()) if column.better == "high" else min(found.values())
    return {i for i, value in found.items() if value == top}


def _paper_text(dataset: str, method: str, key: str) -> str:
    row = published(dataset, method)
    if row is None:
        return "–"
    mean, spread = row.of(key)
    return f"{mean:.2f} ± {spread:.2f}"


def _remarks(board: Board, paper: bool) -> list[str]:
    remarks = [_set_up(board)]
    remarks.append(
        "Mean ± sample standard deviation over seeds; the best mean of a column in bold."
    )
    members = [member for group in board.groups for member in group.members]
    if any(member.corrupted("accuracy") is not None for member in members):
        remarks.append("Corrupted: mean over the 15 corruptions × 5 severities; extras left out.")
    for member in members:
        cells = member.benchmark_cells("accuracy")
        if 0 < cells < 75:
            remarks.append(f"{member.run.name}: {cells} of 75 conditions measured, no mean shown.")
    notes: dict[str, set[str]] = {}
    for member in members:
        for row in member.run.rows:
            if row.dataset == board.dataset and row.split == board.split:
                for name, value in row.notes:
                    notes.setdefault(name, set()).add(value)
    remarks += [
        f"{k.replace('_', ' ').capitalize()}: {', '.join(sorted(v))}."
        for k, v in sorted(notes.items())
    ]
    for run in board.repeats:
        remarks.append(f"{run.name} repeats a seed of the same configuration and is left out.")
    if paper:
        remarks.append(f"Paper: as printed in {CITATION}; set-ups differ, not a reproduction.")
    return remarks


def _set_up(board: Board) -> str:
    """What was trained on what: values that differ between runs stand side by side."""
    runs = [member.run for group in board.groups for member in group.members]

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
    return f"Set-up: {', '.join(part for part in parts if part)}."


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
