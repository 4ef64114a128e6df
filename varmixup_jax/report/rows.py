"""Reads run directories and checks every line of them.

A run directory holds `config.json`, `summary.json`, `metrics.jsonl`, `results.jsonl` and, if the run
made pictures, `artifacts.npz`. An error is one line that begins with file and line.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, get_type_hints

import numpy as np

from varmixup_jax.atomic_files import read_arrays
from varmixup_jax.checks import one_of
from varmixup_jax.report.names import CORRUPTIONS, SEVERITIES, method_rank
from varmixup_jax.report.reading import field, json_lines, json_object
from varmixup_jax.saved_config import flatten, with_later_fields

FACTS = {"run": str, "method": str, "seed": int, "dataset": str}  # of every summary
STATUSES = ("done", "failed", "running")
OPTIONAL = {
    "wall_seconds": float,
    "steps": int,
    "epochs": float,
    "parameters": int,
    "checkpoint": str,
    "params_sha256": str,
    "device": str,
    "git": str,
    "command": str,
    "error": str,
    "evaluated_from": str,
    "measured_in": str,
    "versions": Mapping,
    "vae": Mapping,
    "data": Mapping,
}
MARKERS = ("summary.json", "results.jsonl")  # a directory with one of these is a run directory


class Row(NamedTuple):
    """One line of `results.jsonl`: one number. `notes` are the keys beyond the ten of every row."""

    run: str
    method: str
    seed: int
    step: int
    dataset: str
    split: str
    corruption: str
    severity: int
    metric: str
    value: float
    count: int  # type: ignore[assignment]
    notes: tuple[tuple[str, str], ...] = ()


KINDS = {n: k for n, k in get_type_hints(Row).items() if n not in ("value", "notes")}


@dataclass(frozen=True)
class Run:
    """One run as read from its directory.

    Attributes:
      path: the directory.
      name: the run's name, `method`, `seed`, `dataset` and `status`: as in `summary.json`.
      summary: the whole of `summary.json`.
      config: `config.json` flattened, `{"vae.latent": 64, ...}`, in the file's order.
      metrics: the lines of `metrics.jsonl`, each with a step.
      rows: the lines of `results.jsonl`.
    """

    path: Path
    name: str
    method: str
    seed: int
    dataset: str
    status: str
    summary: Mapping[str, Any]
    config: Mapping[str, Any]
    metrics: Sequence[Mapping[str, Any]]
    rows: Sequence[Row]

    @property
    def done(self) -> bool:
        """Whether the run ended well; only such runs are averaged or drawn."""
        return self.status == "done"

    @property
    def datasets(self) -> tuple[str, ...]:
        """The data set of the summary and those of the rows."""
        return tuple(dict.fromkeys([self.dataset, *(row.dataset for row in self.rows)]))

    def artifacts(self) -> dict[str, np.ndarray]:
        """The arrays of `artifacts.npz`; empty if there is no such file.

        Raises:
          ValueError: the file cannot be read without pickle, or is not an npz file.
        """
        path = self.path / "artifacts.npz"
        return read_arrays(path) if path.exists() else {}


def read_runs(places: Iterable[Path | str]) -> list[Run]:
    """Reads every run directory among `places` and below them.

    Args:
      places: run directories, or directories that hold run directories at any depth; a directory
        named twice is read once.

    Returns:
      The runs in the order of `METHODS`, then of their other methods' names, seeds and paths.

    Raises:
      ValueError: a directory holds no run, or a file of a run is missing or does not parse.
    """
    found: dict[Path, None] = {}
    for place in map(Path, places):
        if not place.is_dir():
            raise ValueError(f"{place}: not a directory, must be a run or hold runs")
        runs = _run_directories(place)
        if not runs:
            raise ValueError(f"{place}: no run directory here (none has {' or '.join(MARKERS)})")
        found.update(dict.fromkeys(path.resolve() for path in runs))
    if not found:
        raise ValueError("runs = []: must name at least one run directory")
    return sorted(map(read_run, found), key=lambda r: (*method_rank(r.method), r.seed, str(r.path)))


def read_run(path: Path | str) -> Run:
    """Reads and checks one run directory.

    Raises:
      ValueError: naming the file (and line) that is missing or does not parse.
    """
    path = Path(path)
    summary, config = (json_object(path / f"{name}.json") for name in ("summary", "config"))
    where = path / "summary.json"
    run, method, seed, dataset = (field(summary, name, FACTS[name], where) for name in FACTS)
    one_of(STATUSES, **{f"{where}: status": summary.get("status")})
    for name, kind in OPTIONAL.items():
        if summary.get(name) not in (None, ""):
            field(summary, name, kind, where)
    done = summary["status"] == "done"
    lines = json_lines(path / "metrics.jsonl", required=False, whole=done)
    metrics = [line for at, line in lines if field(line, "step", int, at) >= 0]
    lines = json_lines(path / "results.jsonl", required=done, whole=done)
    rows = [_row(line, at) for at, line in lines]
    settings, status = with_later_fields(flatten(config)), summary["status"]
    return Run(path, run, method, seed, dataset, status, summary, settings, metrics, rows)


def _run_directories(place: Path) -> list[Path]:
    if any((place / marker).is_file() for marker in MARKERS):
        return [place]
    inner = sorted(p for p in place.iterdir() if p.is_dir() and not p.name.startswith("."))
    return [run for path in inner for run in _run_directories(path)]


def _row(line: Mapping[str, Any], where: str) -> Row:
    # A measure that is not finite was written as null.
    value = math.nan if line.get("value", "absent") is None else field(line, "value", float, where)
    fields = {name: field(line, name, kind, where) for name, kind in KINDS.items()}
    corruption, severity = fields["corruption"], fields["severity"]
    one_of((0,) if corruption == "none" else SEVERITIES, **{f"{where}: severity": severity})
    one_of(("none", *CORRUPTIONS), **{f"{where}: corruption": corruption})
    notes = tuple((k, str(v)) for k, v in sorted(line.items()) if k not in Row._fields)
    return Row(**fields, value=float(value), notes=notes)
