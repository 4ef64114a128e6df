"""What a run leaves in its directory besides checkpoints: who it is, how it went, what it used."""

from __future__ import annotations

import fcntl
import importlib.metadata
import json
import math
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TextIO

import jax
import numpy as np
from ml_collections import ConfigDict

from varmixup_jax import cluster, logits_file
from varmixup_jax.atomic_files import dumps, loads, replace_text, write_arrays, write_json
from varmixup_jax.checks import shown
from varmixup_jax.config import base_config
from varmixup_jax.report.rows import flatten, with_later_fields
from varmixup_jax.report.run_settings import NOT_SETTINGS
from varmixup_jax.training.heartbeat import SAY_SECONDS
from varmixup_jax.version import __version__

DIFFERENCES = 8  # fields that a refusal lists
POLL_SECONDS = 0.2
PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "chex")


class Incompatible(ValueError):
    """A run directory holds a run of another configuration, or is in use."""


def run_config(config: ConfigDict, method: str, seed: int) -> dict[str, Any]:
    """The configuration of one run of a sweep, as JSON keeps it: only its own method's settings."""
    fields = json.loads(json.dumps(config.to_dict()))
    fields["methods"] = {method: fields["methods"][method]}
    return {**fields, "method": method, "seed": seed, "seeds": [seed]}


def check_same(directory: Path, fields: Mapping[str, Any]) -> None:
    """Refuses a directory whose `config.json` differs from `fields` in what matters.

    A field that `config.json` does not have, because its run is of an older version, counts as there
    with its default, or with what it was before it was a field.

    Raises:
      Incompatible: names every field that differs, with both values.
    """
    path = directory / "config.json"
    if not path.exists():
        return
    try:
        there = loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise Incompatible(f"{path}: is not JSON ({error})") from None
    if not isinstance(there, dict):
        raise Incompatible(f"{path}: holds a {type(there).__name__}, must be a JSON object")
    wanted = flatten(json.loads(json.dumps(fields)))
    defaults = flatten(json.loads(json.dumps(base_config().to_dict())))
    found = {name: defaults[name] for name in wanted if name in defaults}
    found |= with_later_fields(flatten(there))
    differing = [
        f"config.{name} = {shown(wanted.get(name))} (there: {shown(found.get(name))})"
        for name in sorted(wanted.keys() | found.keys())
        if (name == "seed" or name not in NOT_SETTINGS) and wanted.get(name) != found.get(name)
    ]
    if differing:
        more = len(differing) - DIFFERENCES
        text = "; ".join([*differing[:DIFFERENCES], *([f"and {more} more"] if more > 0 else [])])
        raise Incompatible(f"workdir {directory} holds a run with another configuration: {text}")


def check_place(directory: Path) -> None:
    """Refuses a place where no directory can be made or written to, without making it.

    Raises:
      Incompatible: names the place and what is in the way.
    """
    there = next(place for place in (directory, *directory.absolute().parents) if place.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        text = f"must be a directory that can be written to, {there} is not"
        raise Incompatible(f"workdir {directory}: {text}")


@contextmanager
def claimed(directory: Path, *, waiting: Callable[[float], None] | None = None) -> Iterator[None]:
    """Holds a directory for this run; the lock ends with its lead process, however that ends.

    Args:
      directory: made where it is missing.
      waiting: called at once and then every ten seconds, with the seconds so far, while another
        process holds it; None refuses instead of waiting.

    Raises:
      Incompatible: another process holds it.
    """
    with ExitStack() as held:
        cluster.on_lead(lambda: held.enter_context(_locked(directory, waiting)))
        yield


@contextmanager
def _locked(directory: Path, waiting: Callable[[float], None] | None) -> Iterator[None]:
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / ".lock").open("w") as handle:
        began, said = time.monotonic(), 0
        while not _taken(handle):
            if waiting is None:
                raise Incompatible(f"workdir {directory}: another run is using it")
            passed = time.monotonic() - began
            if passed >= said * SAY_SECONDS:
                waiting(passed)
                said += 1
            time.sleep(POLL_SECONDS)
        yield


def _taken(handle: TextIO) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def is_done(directory: Path) -> bool:
    """Whether a run ended there with all its results."""
    return _noted(directory, "status") == "done" and (directory / "results.jsonl").exists()


def finished_run(directory: Path) -> str | None:
    """The name of the run that ended there with all its results, None where none did."""
    return _noted(directory, "run") if is_done(directory) else None


def write(directory: Path, **objects: dict[str, Any]) -> None:
    """Writes `<name>.json` for each keyword, each all or nothing; the lead does."""

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

    Each is written all or nothing; rows are one JSON object a line. A value that is not finite
    is null there, and the row says what it was: `not_finite`.
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


def _noted(directory: Path, field: str) -> Any:
    """A field of the summary there, None where there is no such thing."""
    try:
        return loads((directory / "summary.json").read_text(encoding="utf-8"))[field]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def _git_hash() -> str:
    """The commit of this package's files; "" where no repository keeps them, whatever surrounds it."""
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
