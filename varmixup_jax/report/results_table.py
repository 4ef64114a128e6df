"""The results table: methods × measures, the best of each column marked, the paper beside it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from varmixup_jax.report.columns import Column, columns
from varmixup_jax.report.measures import Board, Group, Stat
from varmixup_jax.report.names import BENCHMARK, KINDS, METHODS, SEVERITIES
from varmixup_jax.report.paper_numbers import CITATION, MEASURES, Published, published
from varmixup_jax.report.vaes import vae_remarks

_ACCURACY, _REST = ("clean", "corrupted"), ("ece", "ece_corrupted", "linearity")
LAYOUTS: Mapping[str, tuple[str, ...] | None] = {  # the columns' keys
    "full": None,
    "short": (*_ACCURACY, *_REST),
    "kinds": (*_ACCURACY, *KINDS, *_REST),
}
BESIDE_THE_PAPER = ("full", "short")  # layouts that have columns for the paper's numbers
PAPER_PREFIX = "Paper: "  # begins the headings of columns that are not ours
TITLES = {
    "cifar10": "CIFAR-10",
    "cifar100": "CIFAR-100",
    "tiny_imagenet": "Tiny-ImageNet",
    "digits": "Digits",
}


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


def results(board: Board, layout: str = "full") -> Grid:
    """The table of one data set: mean ± sample standard deviation over seeds.

    Where the paper has numbers for the data set, its columns stand beside ours, of rows in which
    the method has its default settings.

    Args:
      board: the finished runs.
      layout: one of `LAYOUTS`.
    """
    rows = [[Cell(group.label)] for group in board.groups]
    headings = ["Method"]
    if layout == "full" or any(len(group.runs) > 1 for group in board.groups):
        headings.append("Seeds")
        for cells, group in zip(rows, board.groups, strict=True):
            cells.append(Cell(str(len(group.runs))))
    for column in columns(board, LAYOUTS[layout]):
        stats = [group.stat(*column.number) for group in board.groups]
        best = _best(column, stats)
        headings.append(column.heading)
        for i, (group, stat) in enumerate(zip(board.groups, stats, strict=True)):
            rows[i].append(Cell(stat_text(stat, column, len(group.runs)), i in best))
        if (
            layout in BESIDE_THE_PAPER
            and column.key in MEASURES
            and any(paper_row(board, group) for group in board.groups)
        ):
            headings.append(f"{PAPER_PREFIX}{column.title.lower()} ({column.unit})")
            for cells, group in zip(rows, board.groups, strict=True):
                cells.append(Cell(_paper_text(paper_row(board, group), column.key)))
    title = f"{TITLES.get(board.dataset, board.dataset)}, {board.split} set"
    paper = any(heading.startswith(PAPER_PREFIX) for heading in headings)
    return Grid(title, tuple(headings), tuple(map(tuple, rows)), tuple(remarks(board, paper)))


def paper_and_beyond(board: Board, layout: str = "short") -> list[Grid]:
    """Two tables: the paper's methods as it has them, and all that goes beyond.

    A row is the paper's where its method is one of the nine with its default settings. The remarks
    stand below the last table and speak of both; a table without rows is left out.
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


def paper_row(board: Board, group: Group) -> Published | None:
    """The paper's numbers for a row; None where a setting of the method is not the default."""
    return None if group.changed else published(board.dataset, group.method)


def stat_text(stat: Stat | None, column: Column, runs: int) -> str:
    """`mean ± std`, with (n = ...) where fewer seeds than `runs` have the measure.

    >>> accuracy = Column("clean", "Clean acc.", "%", "high", 2, 100, ("accuracy", "clean"))
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


def _paper_text(row: Published | None, key: str) -> str:
    if row is None:
        return "–"
    mean, spread = row.of(key)
    return f"{mean:.2f} ± {spread:.2f}"


def remarks(board: Board, paper: bool) -> list[str]:
    """One line each: set-up, what is averaged and marked, VAEs, sources, what is left out.

    Args:
      board: the finished runs.
      paper: whether the paper's numbers stand beside them.
    """
    lines = [_set_up(board)]
    runs = [run for group in board.groups for run in group.runs]
    found = [numbers for group in board.groups for numbers in group.numbers]
    if any(len(group.runs) > 1 for group in board.groups):
        lines.append(
            "Mean ± sample standard deviation over seeds; the best mean of a column in bold."
        )
    else:
        lines.append("One seed each; the best of a column in bold.")
    if any(("accuracy", "corrupted") in numbers for numbers in found):
        lines.append("Corrupted: mean over the 15 corruptions × 5 severities; extras left out.")
    cells = [("accuracy", f"{c} {s}") for c in BENCHMARK for s in SEVERITIES]
    for run, numbers in zip(runs, found, strict=True):
        count = sum(cell in numbers for cell in cells)
        if 0 < count < len(cells):
            lines.append(f"{run.name}: {count} of 75 conditions measured, no mean shown.")
    notes: dict[str, set[str]] = {}
    for run in runs:
        for row in run.rows:
            if row.dataset == board.dataset and row.split == board.split:
                for name, value in row.notes:
                    notes.setdefault(name, set()).add(value)
    lines += vae_remarks(runs)
    lines += [
        f"{k.replace('_', ' ').capitalize()}: {', '.join(sorted(v))}."
        for k, v in sorted(notes.items())
    ]
    for run in board.repeats:
        lines.append(f"{run.name} repeats a seed of the same configuration and is left out.")
    if paper:
        lines.append(f"Paper: as printed in {CITATION}; set-ups differ, not a reproduction.")
    return lines


def _set_up(board: Board) -> str:
    """What was trained on what: values that differ between runs stand side by side."""
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
    return f"Set-up: {', '.join(part for part in parts if part)}."
