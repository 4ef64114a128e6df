"""Reads run directories and checks every line of them.

A run directory holds `config.json`, `summary.json`, `metrics.jsonl`, `results.jsonl` and, where the
run made pictures, `artifacts.npz`. A refusal is one line that begins with file and line.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from varmixup_jax.atomic_files import read_arrays
from varmixup_jax.report.names import CORRUPTIONS, SEVERITIES, method_rank
from varmixup_jax.report.reading import check_optional, field, json_lines, json_object
from varmixup_jax.saved_config import flatten, with_later_fields

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


@dataclass(frozen=True)
class Run:
    """One run as its directory tells it.

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
        """The arrays of `artifacts.npz`; none where there is no such file.

        Raises:
          ValueError: the file cannot be read without pickle, or is no npz file.
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
      ValueError: a place holds no run, or a file of a run is missing or does not parse.
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


def by_data(runs: Sequence[Run]) -> list[Run]:
    """The runs, with what a table goes by telling the data rather than the place of its files.

    Runs on the same data get the same `data.source`. Where runs on different data have the same
    `data.source`, `data.sha256` becomes a setting; where test sets of one name differ, that of the
    name gets a piece of their sha256. Runs of older versions, which tell none, stay as they are.

    Args:
      runs: of any data sets.
    """
    sources: dict[str, str] = {}  # by what is in the files
    contents: dict[tuple[str, str], set[str]] = {}  # by source and the settings of the split
    tests: dict[str, set[str]] = {}  # by the data set's name
    for run in runs:
        content, test = _content(run)
        if content:
            source = str(run.config.get("data.source", ""))
            sources[content] = min(sources.get(content, source), source)
            tests.setdefault(run.dataset, set()).add(test)
    for run in runs:
        content, _ = _content(run)
        if content:
            contents.setdefault((sources[content], _split(run)), set()).add(content)

    def told(run: Run) -> Run:
        content, test = _content(run)
        if not content:
            return run
        config = {**run.config, "data.source": sources[content]}
        if len(contents[sources[content], _split(run)]) > 1:
            config["data.sha256"] = content[:8]
        if len(tests[run.dataset]) < 2:
            return replace(run, config=config)
        name = f"{run.dataset} {test[:8]}"
        rows = [
            row._replace(dataset=name) if row.dataset == run.dataset else row for row in run.rows
        ]
        return replace(run, config=config, dataset=name, rows=rows)

    return [told(run) for run in runs]


def _content(run: Run) -> tuple[str, str]:
    """The sha256 of a run's data, training first, and of its test set; empty where not told."""
    told = run.summary.get("data") or {}
    whole = "".join(str(told.get(split, "")) for split in ("train", "val", "test"))
    return whole, str(told.get("test", ""))


def _split(run: Run) -> str:
    names = [
        n for n in run.config if n.startswith("data.") and n not in ("data.source", "data.dir")
    ]
    return str([(name, run.config[name]) for name in sorted(names)])


def read_run(path: Path | str) -> Run:
    """Reads and checks one run directory.

    Raises:
      ValueError: naming the file (and line) that is missing or does not parse.
    """
    path = Path(path)
    summary, config = (json_object(path / f"{name}.json") for name in ("summary", "config"))
    where = path / "summary.json"
    for name, kind in (("run", str), ("method", str), ("dataset", str), ("seed", int)):
        field(summary, name, kind, where)
    if summary.get("status") not in STATUSES:
        status = summary.get("status")
        raise ValueError(f"{where}: status = {status!r}: must be one of {', '.join(STATUSES)}")
    check_optional(summary, OPTIONAL, where)
    done = summary["status"] == "done"
    return Run(
        path=path,
        name=summary["run"],
        method=summary["method"],
        seed=summary["seed"],
        dataset=summary["dataset"],
        status=summary["status"],
        summary=summary,
        config=with_later_fields(flatten(config)),
        metrics=[
            line
            for where, line in json_lines(path / "metrics.jsonl", required=False, whole=done)
            if field(line, "step", int, where) >= 0
        ],
        rows=[
            _row(line, where)
            for where, line in json_lines(path / "results.jsonl", required=done, whole=done)
        ],
    )


def _run_directories(place: Path) -> list[Path]:
    if any((place / marker).is_file() for marker in MARKERS):
        return [place]
    inner = sorted(p for p in place.iterdir() if p.is_dir() and not p.name.startswith("."))
    return [run for path in inner for run in _run_directories(path)]


def _row(line: Mapping[str, Any], where: str) -> Row:
    fields: dict[str, Any] = {}
    for name in ("run", "method", "dataset", "split", "corruption", "metric"):
        fields[name] = field(line, name, str, where)
    for name in ("seed", "step", "severity", "count"):
        fields[name] = field(line, name, int, where)
    # A measure that is not finite was written as null.
    missing = line.get("value", "absent") is None
    fields["value"] = math.nan if missing else float(field(line, "value", float, where))
    corruption, severity = fields["corruption"], fields["severity"]
    allowed = (0,) if corruption == "none" else SEVERITIES
    if severity not in allowed:
        raise ValueError(
            f"{where}: severity = {severity} of corruption {corruption!r}: must be one of "
            f"{', '.join(map(str, allowed))}"
        )
    if corruption not in ("none", *CORRUPTIONS):
        raise ValueError(f"{where}: corruption = {corruption!r}: not one of the {len(CORRUPTIONS)}")
    notes = tuple((k, str(v)) for k, v in sorted(line.items()) if k not in Row._fields)
    return Row(**fields, notes=notes)
