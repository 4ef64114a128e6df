"""The table on the terminal at the end: one run's measures, or several runs side by side."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.table import Table

from varmixup_jax.report.measures import WORST_CASE, Group, Measures, adversarial_metrics
from varmixup_jax.report.rows import Run

HEADLINES = {"accuracy": "acc.", "ece": "ECE"}  # shown clean and corrupted where runs are compared


def closing_table(runs: Sequence[Run]) -> Table:
    """A `rich` table of results: clean values, and means over the 15 corruptions × 5 severities.

    A mean is left out unless all 75 are there; the four extra corruptions never enter it. One run has
    a line for each measure; of several each has a line, with the measures that matter most.
    """
    measured = [Measures(run, run.dataset, "test") for run in runs]
    return _one(measured[0]) if len(measured) == 1 else _several(measured)


def _one(measured: Measures) -> Table:
    table = _table("measure", "clean", "corrupted (15 × 5)", title=measured.run.name)
    for metric in measured.metrics:
        table.add_row(metric, _text(measured.clean(metric)), _text(measured.corrupted(metric)))
    return table


def _several(runs: Sequence[Measures]) -> Table:
    attacks = [m for m in adversarial_metrics([Group("", "", tuple(runs))]) if m != WORST_CASE]
    radius = max((eps for measured in runs for eps in measured.linearity()), default=None)
    heads = [f"{head}\n{kind}" for head in HEADLINES.values() for kind in ("clean", "corr.")]
    heads += [metric.replace("_accuracy", "\nacc.") for metric in attacks]
    heads += [] if radius is None else [f"lin. err.\n{radius:g}/255"]
    table = _table("run", *heads)
    for measured in runs:
        pairs = [(measured.clean(metric), measured.corrupted(metric)) for metric in HEADLINES]
        values = [value for pair in pairs for value in pair]
        values += [measured.clean(metric) for metric in attacks]
        values += [] if radius is None else [measured.linearity().get(radius)]
        table.add_row(measured.run.name, *map(_text, values))
    return table


def _table(first: str, *others: str, title: str | None = None) -> Table:
    table = Table(title=title, box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.add_column(first, no_wrap=True)
    for name in others:
        table.add_column(name, justify="right")
    return table


def _text(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"
