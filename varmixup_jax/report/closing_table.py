"""The table on the terminal at the end: one run's measures, or several runs side by side."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table

from varmixup_jax.report.measures import (
    WORST_CASE,
    adversarial_metrics,
    mean_of_some,
    numbers,
    radii,
)
from varmixup_jax.report.rows import Run

BY_CLASS = "class_accuracy_"  # measures that are only in files
HEADLINES = {"accuracy": "acc.", "ece": "ECE"}  # shown clean and corrupted when comparing runs
PLAIN = str.maketrans({"–": "-", "×": "x", "─": "-"})  # for terminals without them


def print_table(runs: Sequence[Run]) -> None:
    """Prints `closing_table` on standard output; an error here never makes a finished run fail.

    A terminal without the table's characters gets plain ones; if the output cannot be written (a
    closed pipe, a full disk), nothing is printed.
    """
    console = Console(file=io.StringIO(), force_terminal=sys.stdout.isatty(), width=Console().width)
    console.print(closing_table(runs))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    encoding = sys.stdout.encoding or "ascii"
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        text = text.translate(PLAIN).encode(encoding, "replace").decode(encoding)
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError:
        # Data still buffered would fail again at exit, and set the exit code there.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def closing_table(runs: Sequence[Run]) -> Table:
    """A `rich` table of results: clean values, and means over the 15 corruptions × 5 severities.

    A mean is left out unless all 75 are there; the four extra corruptions are never part of it. A
    single run gets a line per measure; several runs get a line each, with the most important measures.
    """
    heads, *lines = one_run(runs[0]) if len(runs) == 1 else _several(runs)
    title = runs[0].name if len(runs) == 1 else None
    table = Table(title=title, box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.add_column(heads[0], no_wrap=True)
    for head in heads[1:]:
        table.add_column(head, justify="right")
    for line in lines:
        table.add_row(*line)
    return table


def one_run(run: Run) -> list[list[str]]:
    """The cells of one run's table, its headings first.

    If not all 75 conditions were measured, each corruption measured at all severities gets its own
    column, and the mean over all that was measured gets another, whose heading says what it covers.
    """
    found = numbers(run, run.dataset, "test")
    conditions = {"clean": "clean", "corrupted": "corrupted (15 × 5)"}
    if "corrupted" not in {condition for _, condition in found}:
        whole = {condition for _, condition in found}
        some = [row.corruption for row in run.rows if row.corruption in whole]
        conditions = {"clean": "clean", **{name: f"{name} (5)" for name in some}}
    metrics = dict.fromkeys(metric for metric, _ in found if not metric.startswith(BY_CLASS))
    means = {metric: mean for metric in metrics if (mean := mean_of_some(found, metric))}
    what = next((text.split(":")[0] for text, _ in means.values()), "")
    if means and what != "mean of 1 of 15 corruptions":  # that one has its own column
        conditions["some"] = what
        found |= {(metric, "some"): mean for metric, (_, mean) in means.items()}
    lines = [[metric, *(_text(found.get((metric, c))) for c in conditions)] for metric in metrics]
    return [["measure", *conditions.values()], *lines]


def _several(runs: Sequence[Run]) -> list[list[str]]:
    """The cells of the table of several runs, its headings first."""
    found = [numbers(run, run.dataset, "test") for run in runs]
    attacks = [name for name in adversarial_metrics(found) if name != WORST_CASE]
    errors = radii(number for one in found for number in one)
    kinds = {"clean": "clean", "corrupted": "corr."}
    columns = {f"{h}\n{kinds[k]}": (m, k) for m, h in HEADLINES.items() for k in kinds}
    columns |= {metric.replace("_accuracy", "\nacc."): (metric, "clean") for metric in attacks}
    if errors:
        columns[f"lin. err.\n{max(errors):g}/255"] = (errors[max(errors)], "clean")
    lines = [
        [run.name, *(_text(one.get(number)) for number in columns.values())]
        for run, one in zip(runs, found, strict=True)
    ]
    return [["run", *columns], *lines]


def _text(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"
