"""The table on the terminal at the end: one run's measures, or several runs side by side."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

from rich import box
from rich.table import Table

from varmixup_jax import corruptions

CONDITIONS = len(corruptions.NAMES) * len(corruptions.SEVERITIES)
HEADLINES = {  # (measure, whether under corruption): how it is headed where runs are compared
    ("accuracy", False): "acc.\nclean",
    ("accuracy", True): "acc.\ncorr.",
    ("ece", False): "ECE\nclean",
    ("ece", True): "ECE\ncorr.",
}
ATTACKED = re.compile(r"a?pgd\d*_accuracy")
LINEARITY = "local_linearity_error_"


def closing_table(rows: Iterable[Mapping[str, Any]]) -> Table:
    """A `rich` table of results: clean values, and means over the 15 corruptions × 5 severities.

    A mean is left out unless all 75 are there; the four extra corruptions never enter it. One run has
    a line for each measure; of several each has a line, with the measures that matter most.

    Args:
      rows: rows of `results.jsonl`: dicts with run, corruption, severity, metric and value.
    """
    clean: dict[str, dict[str, float]] = {}
    cells: dict[str, dict[str, dict[tuple[str, int], float]]] = {}
    for row in rows:
        run, metric = row["run"], row["metric"]
        value = math.nan if row["value"] is None else float(row["value"])
        clean.setdefault(run, {})
        if row["corruption"] == "none":
            clean[run][metric] = value
        elif row["corruption"] not in corruptions.EXTRA:
            of_run = cells.setdefault(run, {}).setdefault(metric, {})
            of_run[row["corruption"], row["severity"]] = value
    corrupted = {
        run: {
            metric: sum(found.values()) / len(found) if len(found) == CONDITIONS else None
            for metric, found in cells.get(run, {}).items()
        }
        for run in clean
    }
    return _one(clean, corrupted) if len(clean) == 1 else _several(clean, corrupted)


def _one(
    clean: dict[str, dict[str, float]], corrupted: dict[str, dict[str, float | None]]
) -> Table:
    ((run, values),) = clean.items()
    table = _table("measure", "clean", "corrupted (15 × 5)", title=run)
    for metric in dict.fromkeys([*values, *corrupted[run]]):
        table.add_row(metric, _text(values.get(metric)), _text(corrupted[run].get(metric)))
    return table


def _several(
    clean: dict[str, dict[str, float]], corrupted: dict[str, dict[str, float | None]]
) -> Table:
    measured = list(dict.fromkeys(metric for values in clean.values() for metric in values))
    others = {m: m.replace("_accuracy", "\nacc.") for m in measured if ATTACKED.fullmatch(m)}
    linear = [metric for metric in measured if metric.startswith(LINEARITY)]
    others |= {metric: metric.replace(LINEARITY, "lin. err.\n") for metric in linear[-1:]}
    table = _table("run", *HEADLINES.values(), *others.values())
    for run, values in clean.items():
        numbers = [
            corrupted[run].get(metric) if on_corrupted else values.get(metric)
            for metric, on_corrupted in HEADLINES
        ]
        table.add_row(run, *map(_text, [*numbers, *map(values.get, others)]))
    return table


def _table(first: str, *others: str, title: str | None = None) -> Table:
    table = Table(title=title, box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.add_column(first, no_wrap=True)
    for name in others:
        table.add_column(name, justify="right")
    return table


def _text(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"
