"""The files of a run directory other than checkpoints: configuration, summary, results, provenance."""

from __future__ import annotations

import importlib.metadata
import json
import math
import platform
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import jax
import numpy as np

from varmixup_jax import cluster, logits_file
from varmixup_jax.atomic_files import dumps, loads, obstacle, replace_text, write_arrays, write_json
from varmixup_jax.checks import shown
from varmixup_jax.config import base_config
from varmixup_jax.declare import plain
from varmixup_jax.fields import Config
from varmixup_jax.report.reading import json_object
from varmixup_jax.runs.locks import Held, locked
from varmixup_jax.saved_config import NOT_SETTINGS, flatten, with_later_fields
from varmixup_jax.version import __version__

VALIDATIONS = "eval.every_epochs"  # determines which checkpoints there are to choose from
DIFFERENCES = 8  # fields that a refusal lists
PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "chex")


class Incompatible(ValueError):
    """A run directory holds a run with another configuration, or is in use."""


def run_config(config: Config, method: str, seed: int) -> dict[str, Any]:
    """The configuration of one run of a sweep, as JSON keeps it: only its own method's settings."""
    fields = json.loads(json.dumps(plain(config)))
    fields["methods"] = {method: fields["methods"][method]}
    return {**fields, "method": method, "seed": seed, "seeds": [seed]}


def check_same(directory: Path, fields: Mapping[str, Any]) -> None:
    """Refuses a directory whose `config.json` differs from `fields` in what matters.

    How a run is evaluated may change until it has results. A field that is missing in `config.json`,
    because the run is of an older version, is taken to have its default, or the value that was fixed
    before the field existed.

    Raises:
      Incompatible: names every field that differs, with both values.
      ValueError: `config.json` there is damaged.
    """
    path = directory / "config.json"
    if not path.exists():
        return
    there = json_object(path)
    free = () if is_done(directory) else ("eval.",)
    wanted = flatten(json.loads(json.dumps(fields)))
    defaults = flatten(json.loads(json.dumps(base_config().to_dict())))
    found = {name: defaults[name] for name in wanted if name in defaults}
    found |= with_later_fields(flatten(there))
    if _noted(directory, "data"):
        found["data.source"] = wanted["data.source"]  # `check_data` compares what is in the files
    differing = [
        f"config.{name} = {shown(wanted.get(name))} (there: {shown(found.get(name))})"
        for name in sorted(wanted.keys() | found.keys())
        if (name == "seed" or name not in NOT_SETTINGS)
        and (name == VALIDATIONS or not name.startswith(free))
        and wanted.get(name) != found.get(name)
    ]
    if differing:
        more = len(differing) - DIFFERENCES
        text = "; ".join([*differing[:DIFFERENCES], *([f"and {more} more"] if more > 0 else [])])
        raise Incompatible(f"workdir {directory} holds a run with another configuration: {text}")


def check_data(digests: Mapping[str, str], *directories: Path) -> None:
    """Refuses directories whose run was on other data than those of `digests`, see `Dataset.digests`.

    Runs of older versions did not record theirs and pass.

    Raises:
      Incompatible: names the splits that differ.
    """
    for directory in directories:
        text = other_data(_noted(directory, "data"), digests)
        if text:
            raise Incompatible(f"workdir {directory} holds a run on other data: {text}")


def other_data(there: Mapping[str, str] | None, here: Mapping[str, str]) -> str:
    """What differs between the data of a run and the data at hand; "" if nothing is known to."""
    there = there or {}
    splits = [
        name for name in ("train", "val", "test") if there.get(name, here[name]) != here[name]
    ]
    if not splits:
        return ""
    what = "images" if there.get("labels") == here["labels"] else "labels or images"
    return f"the {what} of {' and '.join(splits)} are not the same, must be those of config.data"


def elsewhere(directory: Path, source: str) -> bool:
    """Whether the run there names another `data.source`, which may hold the same data."""
    data = _noted(directory, "data", "config.json")
    return isinstance(data, dict) and data.get("source", source) != source


def check_place(directory: Path) -> None:
    """Refuses a path where no directory can be created or written to, without creating it.

    Raises:
      Incompatible: names the path and what is in the way.
    """
    if re.match(r"[a-z][a-z0-9+.-]*:/", str(directory)):
        text = "must be a local directory; mount that location, or copy the runs there later"
        raise Incompatible(f"workdir {directory}: {text}")
    if str(directory).startswith("~"):
        raise Incompatible(f"workdir {directory}: has no such home directory, must be a path")
    in_the_way = obstacle(directory)
    if in_the_way:
        text = f"must be a directory that can be written to, {in_the_way} is not"
        raise Incompatible(f"workdir {directory}: {text}")


@contextmanager
def claimed(directory: Path, *, waiting: Callable[[str], None] | None = None) -> Iterator[None]:
    """Locks a directory for this run; the lock ends with the leader, however that ends.

    Args:
      directory: created if missing.
      waiting: as in `locks.locked`.

    Raises:
      Incompatible: another process holds it.
    """
    with ExitStack() as held:
        try:
            cluster.on_lead(lambda: held.enter_context(locked(directory, waiting)))
        except Held as error:
            text = f"workdir {directory}: another run is using it, {error}"
            raise Incompatible(text) from None
        yield


def is_done(directory: Path) -> bool:
    """Whether a run ended there with all its results."""
    return _noted(directory, "status") == "done" and (directory / "results.jsonl").exists()


def finished_run(directory: Path) -> str | None:
    """The name of the run that ended there with all its results, or None."""
    return _noted(directory, "run") if is_done(directory) else None


def write(directory: Path, **objects: dict[str, Any]) -> None:
    """Writes `<name>.json` for each keyword, each atomically; only the leader writes."""

    def files() -> None:
        for name, fields in objects.items():
            write_json(directory / f"{name}.json", fields)

    cluster.on_lead(files)


def write_results(
    directory: Path,
    rows: list[dict[str, Any]],
    arrays: Mapping[str, np.ndarray],
    logits: Mapping[str, np.ndarray],
) -> None:
    """Writes `artifacts.npz`, `logits.npz` where there are any, and last `results.jsonl`.

    Each is written atomically; rows are one JSON object per line. A value that is not finite is
    null there, and the row's `not_finite` says what it was.
    """
    write_arrays(directory / "artifacts.npz", arrays)
    if logits:
        write_arrays(directory / logits_file.FILE, logits)
    said = [
        row if math.isfinite(row["value"]) else {**row, "not_finite": str(row["value"])}
        for row in rows
    ]
    replace_text(directory / "results.jsonl", "".join(dumps(row) + "\n" for row in said))


def provenance(module: str = "varmixup_jax.main") -> dict[str, Any]:
    """Versions, device, git hash and command of this process, which runs `module`."""
    versions = {"varmixup_jax": __version__, "python": platform.python_version()}
    for name in PACKAGES:
        versions[name] = importlib.metadata.version(name)
    device = jax.devices()[0]
    return {
        "versions": versions,
        "git": _git_hash(),
        "device": f"{jax.device_count()} x {device.device_kind} ({device.platform})",
        "command": " ".join([f"python -m {module}", *sys.argv[1:]]),
    }


def moved(directory: Path, device: str) -> str:
    """A note for a run resumed on other devices than it was started on, else ""."""
    before = _noted(directory, "device")
    if before in (None, device):
        return ""
    text = "results will be close to those of an uninterrupted run, not bit-identical"
    return f"started on {before}, resumed on {device}: {text}"


def _noted(directory: Path, field: str, file: str = "summary.json") -> Any:
    """A field of the summary there, None if there is none."""
    try:
        return loads((directory / file).read_text(encoding="utf-8"))[field]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def _git_hash() -> str:
    """The commit of this package's files; "" if they are not tracked, even inside a repository."""
    tracked = _git("ls-files", "--error-unmatch", Path(__file__).name)
    return _git("describe", "--always", "--dirty", "--abbrev=12") if tracked else ""


def _git(*words: str) -> str:
    here = Path(__file__).resolve().parent
    try:
        found = subprocess.run(
            ["git", "-C", str(here), *words], capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return found.stdout.strip()
