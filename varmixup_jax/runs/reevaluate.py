"""Evaluates finished runs again, with other measures, files or devices.

Training takes hours and an evaluation minutes: the trained model is read from each run's model file,
and the new rows go to a separate directory, so earlier results are not touched.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from varmixup_jax import checks, cluster, report
from varmixup_jax.config import base_config
from varmixup_jax.models.forward import MEASURED_IN
from varmixup_jax.models.saved import FILE, Model, load_model
from varmixup_jax.report.rows import Run, read_runs
from varmixup_jax.runs import run_directory
from varmixup_jax.runs.measure import measured
from varmixup_jax.runs.preemption import PREEMPTION
from varmixup_jax.runs.setup import Setup, prepare
from varmixup_jax.runs.speaker import speaker
from varmixup_jax.runs.sweep import close
from varmixup_jax.saved_config import flatten
from varmixup_jax.training.heartbeat import Heartbeat
from varmixup_jax.validation import validate

# What a trained model does not depend on; a source may move, but must hold the same data.
CHANGEABLE = ("eval.", "parallel.", "data.dir", "data.source", "quiet")
COPIED = ("checkpoint", "vae", "steps", "epochs", "evaluated_step", "params_sha256", "parameters")


def evaluate_again(
    runs: Sequence[Path],
    out: Path,
    changes: Mapping[str, Any],
    *,
    baseline: str | None = None,
) -> list[dict[str, Any]]:
    """Evaluates finished runs with a changed configuration and writes the comparison page.

    Args:
      runs: run directories, or directories that hold some; runs whose training has not finished
        (those without a model file) are left out.
      out: each run gets `out/<name of its directory>`, laid out as the run itself; what is done
        there with the same fields is not repeated.
      changes: dotted fields of the configuration and their values, of `CHANGEABLE` sections.
      baseline: the method that mCE is relative to; None for `config.eval.baseline` of the runs.

    Returns:
      One summary per run, in the order of the page.

    Raises:
      ValueError: a field that cannot be changed or is out of range, no finished run, a missing or
        damaged model file, data other than those the run was trained on, or a directory in use.
    """
    for field in changes:
        if not field.startswith(CHANGEABLE):
            text = "belongs to what was trained, must be one of " + ", ".join(
                f"config.{name}*" if name.endswith(".") else f"config.{name}" for name in CHANGEABLE
            )
            raise ValueError(f"config.{field}: {text}")
    found = [run for run in read_runs(runs) if run.done or (run.path / FILE).is_file()]
    if not found:
        text = "holds no run that has ended, nor one that was trained, must be one"
        raise ValueError(f"{', '.join(str(place) for place in runs)}: {text}")
    places = _places(found, Path(out))
    configs = {run.path: validate(_config(run, changes)) for run in found}
    models = {run.path: load_model(run.path) for run in found}
    run_directory.check_place(Path(out))

    say = speaker(configs[found[0].path].quiet)
    key, setup = "", None  # runs of one sweep share a setup
    for run in found:
        config, place = configs[run.path], places[run.path]
        fields = run_directory.run_config(config, run.method, run.seed)
        if cluster.on_lead(partial(_is_there, place, fields)):
            continue
        shared = json.dumps({**fields, "methods": {}, "method": "", "seed": 0, "seeds": []})
        if setup is None or shared != key:
            with Heartbeat(speaker(config.quiet), "loading the data"):
                key, setup = shared, prepare(config)
        say(f"evaluating {run.path} into {place}")
        _evaluated(run, models[run.path], setup._replace(config=config), place, fields)
    name = _baseline(found, baseline or configs[found[0].path].eval.baseline or "")
    kept = list(places.values())
    PREEMPTION.check()
    summaries = cluster.on_lead(lambda: close(kept, Path(out), name, say))
    PREEMPTION.check()
    return summaries


def _places(found: Sequence[Run], out: Path) -> dict[Path, Path]:
    names = [run.path.name for run in found]
    for run, name in zip(found, names, strict=True):
        if names.count(name) > 1:
            text = "is the name of several runs, must be evaluated with another --out"
            raise ValueError(f"{run.path}: {name!r} {text}")
        if (out / name).resolve() == run.path:
            raise ValueError(f"--out = {out}: holds {run.path} itself, must be another directory")
    return {run.path: out / run.path.name for run in found}


def _config(run: Run, changes: Mapping[str, Any]) -> ConfigDict:
    """The run's configuration with the changes; fields it does not know keep their defaults."""
    config = base_config()
    known = flatten(config.to_dict())
    for name, value in {**run.config, **changes}.items():
        if name in ("seed", "methods"):
            continue
        if name in known:
            config.update_from_flattened_dict(
                {name: tuple(value) if isinstance(value, list) else value}
            )
        elif not name.startswith("methods."):
            checks.one_of(known, **{f"field of {run.path / 'config.json'}": name})
    return config


def _is_there(place: Path, fields: Mapping[str, Any]) -> bool:
    run_directory.check_same(place, fields)
    return run_directory.is_done(place)


def _baseline(found: Sequence[Run], method: str) -> str | None:
    """The run of the baseline method with the first seed, if there are others too."""
    same = sorted((run for run in found if run.method == method), key=lambda run: run.seed)
    return same[0].name if same and len(found) > 1 else None


def _check_data(run: Run, about: Mapping[str, Any], setup: Setup) -> None:
    """Refuses data other than those the run was trained on."""
    data, source = setup.data, setup.config.data.source
    known = about.get("data") or run.summary.get("data")
    text = run_directory.other_data(known, data.digests)
    if not known and source != run.config.get("data.source"):
        text = f"{run.path} does not record the sha256 of its data, must be its own source"
    ours, theirs = (
        (data.image_shape, data.label_names),
        (about["image_shape"], about["label_names"]),
    )
    if [tuple(part) for part in ours] != [tuple(part) for part in theirs]:
        text = "must have its shape and classes"
    if text:
        what = f"is not the set that {run.path} was trained on: {text}"
        raise ValueError(f"config.data.source = {source}: {what}")


def _evaluated(
    run: Run, model: Model, setup: Setup, place: Path, fields: Mapping[str, Any]
) -> None:
    about, say = model.about, speaker(setup.config.quiet)
    _check_data(run, about, setup)
    summary = {
        "run": run.name,
        "method": run.method,
        "seed": run.seed,
        "dataset": setup.data.name,
        "data": setup.data.digests,
        "status": "running",
        "evaluated_from": str(run.path),
        "measured_in": MEASURED_IN,
        **{name: run.summary[name] for name in COPIED if name in run.summary},
        **run_directory.provenance("varmixup_jax.evaluate"),
    }
    with run_directory.claimed(place):
        run_directory.write(place, config=dict(fields), summary=summary)
        began = time.monotonic()
        who = {"run": run.name, "method": run.method, "seed": run.seed, "step": about["step"]}
        mapping = setup.mapping
        variables = mapping.collect(mapping.replicate((model.params, model.stats)))
        results = measured(setup, model.vae, variables, who, place)
        cluster.on_lead(lambda: run_directory.write_results(place, *results))
        seconds = time.monotonic() - began
        run_directory.write(place, summary={**summary, "status": "done", "wall_seconds": seconds})
        with Heartbeat(say, f"{run.name}: drawing pictures"):
            cluster.on_lead(lambda: report.pictures(place) and None)
