"""Reads run directories and checks every line of them.

A run directory holds `config.json`, `summary.json`, `metrics.jsonl`, `results.jsonl` and, where the
run made pictures, `artifacts.npz`. A refusal is one line that begins with file and line.
"""

from __future__ import annotations

import json
import math
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from varmixup_jax.report.names import CORRUPTIONS, SEVERITIES, method_rank

STATUSES = ("done", "failed", "running")
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
    count: int
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
        if not path.exists():
            return {}
        try:
            with np.load(path, allow_pickle=False) as arrays:
                return {name: arrays[name] for name in arrays.files}
        except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
            raise ValueError(f"{path}: not a readable npz file ({_one_line(error)})") from None


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


def read_run(path: Path | str) -> Run:
    """Reads and checks one run directory.

    Raises:
      ValueError: naming the file (and line) that is missing or does not parse.
    """
    path = Path(path)
    summary, config = (_json_object(path / f"{name}.json") for name in ("summary", "config"))
    where = path / "summary.json"
    for name, kind in (("run", str), ("method", str), ("dataset", str), ("seed", int)):
        _field(summary, name, kind, where)
    if summary.get("status") not in STATUSES:
        status = summary.get("status")
        raise ValueError(f"{where}: status = {status!r}: must be one of {', '.join(STATUSES)}")
    done = summary["status"] == "done"
    return Run(
        path=path,
        name=summary["run"],
        method=summary["method"],
        seed=summary["seed"],
        dataset=summary["dataset"],
        status=summary["status"],
        summary=summary,
        config=flatten(config),
        metrics=[
            line
            for where, line in _json_lines(path / "metrics.jsonl", required=False, whole=done)
            if _field(line, "step", int, where) >= 0
        ],
        rows=[
            _row(line, where)
            for where, line in _json_lines(path / "results.jsonl", required=done, whole=done)
        ],
    )


def flatten(nested: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """`{"vae": {"latent": 64}}` as `{"vae.latent": 64}`, in the same order.

    >>> flatten({"seed": 0, "vae": {"latent": 64, "kernel": {}}})
    {'seed': 0, 'vae.latent': 64, 'vae.kernel': {}}
    """
    flat: dict[str, Any] = {}
    for name, value in nested.items():
        if isinstance(value, Mapping) and value:
            flat.update(flatten(value, f"{prefix}{name}."))
        else:
            flat[f"{prefix}{name}"] = value
    return flat


def _run_directories(place: Path) -> list[Path]:
    if any((place / marker).is_file() for marker in MARKERS):
        return [place]
    inner = sorted(p for p in place.iterdir() if p.is_dir() and not p.name.startswith("."))
    return [run for path in inner for run in _run_directories(path)]


def _row(line: Mapping[str, Any], where: str) -> Row:
    fields: dict[str, Any] = {}
    for name in ("run", "method", "dataset", "split", "corruption", "metric"):
        fields[name] = _field(line, name, str, where)
    for name in ("seed", "step", "severity", "count"):
        fields[name] = _field(line, name, int, where)
    # JSON has no NaN: a measure that is not a number was written as null.
    value = line.get("value", "absent")
    fields["value"] = math.nan if value is None else float(_field(line, "value", float, where))
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


def _json_object(path: Path) -> Mapping[str, Any]:
    if not path.is_file():
        raise ValueError(f"{path}: missing, every run directory has one")
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}:{error.lineno}: not JSON ({error.msg})") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not UTF-8 ({_one_line(error)})") from None
    if not isinstance(value, dict):
        raise ValueError(f"{path}: holds a {type(value).__name__}, must be a JSON object")
    return value


def _json_lines(path: Path, *, required: bool, whole: bool) -> list[tuple[str, dict[str, Any]]]:
    """Each object with its place; unless `whole`, a last line without newline is left out."""
    if not path.is_file():
        if required:
            raise ValueError(f"{path}: missing, every run that is done has one")
        return []
    try:
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not UTF-8 ({_one_line(error)})") from None
    objects = []
    for number, line in enumerate(lines, start=1):
        if not whole and number == len(lines) and not line.endswith("\n"):
            break
        if not line.strip():
            continue
        where = f"{path}:{number}"
        try:
            value = json.loads(line)
        except json.JSONDecodeError as error:
            raise ValueError(f"{where}: not JSON ({error.msg})") from None
        if not isinstance(value, dict):
            raise ValueError(f"{where}: holds a {type(value).__name__}, must be a JSON object")
        objects.append((where, value))
    return objects


def _field(line: Mapping[str, Any], name: str, kind: type, where: Path | str) -> Any:
    if name not in line:
        raise ValueError(f"{where}: field {name!r} is missing")
    value = line[name]
    allowed = (int, float) if kind is float else kind
    if isinstance(value, bool) or not isinstance(value, allowed):
        expected = {int: "a whole number", float: "a number", str: "a string"}[kind]
        raise ValueError(f"{where}: {name} = {value!r}: must be {expected}")
    return value


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
