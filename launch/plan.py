"""The runs of a sweep: one process per method (or named run) and seed, each in its directory."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ml_collections import ConfigDict

from varmixup_jax.atomic_files import user_path
from varmixup_jax.command_line import default_workdir, read_config
from varmixup_jax.config import selected_methods
from varmixup_jax.fields import Config
from varmixup_jax.runs import run_directory
from varmixup_jax.validation import unknown_field, validate

OWN_FLAGS = {"config.method": "--methods", "config.seeds": "--seeds"}


class Kind(NamedTuple):
    """What is run with every seed.

    Attributes:
      name: of its directories.
      method: the training method.
      overrides: `--config.x=y`.
      config: the recipe with these.
    """

    name: str
    method: str
    overrides: tuple[str, ...]
    config: Config


class Job(NamedTuple):
    """One run.

    Attributes:
      name: `<method>-s<seed>`, or with the name given by `--run` instead of the method.
      place: its run directory, the same as `varmixup_jax.main` would use for a sweep.
      log: the file for its output.
      words: the command.
      done: whether it ended with all its results; if so, it is not run again.
    """

    name: str
    place: Path
    log: Path
    words: tuple[str, ...]
    done: bool


class Sweep(NamedTuple):
    """All runs, those of the first seed first, and the run that mCE is relative to, if any."""

    jobs: tuple[Job, ...]
    baseline: Job | None
    workdir: Path


def plan(
    recipe: str,
    methods: str,
    seeds: str,
    workdir: str | Path | None,
    overrides: Sequence[str] = (),
    baseline: str | None = None,
    named: Sequence[str] = (),
    modules: Sequence[str] = (),
) -> Sweep:
    """Checks everything that can be checked without a device, and lists the runs.

    Args:
      recipe: `FILE[:WORDS]` or `NAME[:WORDS]`.
      methods: several separated by commas, or "all"; "" for the recipe's own, or for none if there
        are named runs.
      seeds: whole numbers separated by commas; "" for the recipe's own.
      workdir: the runs are in `workdir/<method>-s<seed>`, named ones in `workdir/<name>-s<seed>`;
        None for the directory that `varmixup train` chooses.
      overrides: `--config.x=y`, for all runs.
      baseline: a method or named run of the sweep; None for `config.eval.baseline` if it is run.
      named: "NAME METHOD FIELD=VALUE ...", runs that differ from the others in some fields.
      modules: what each run imports first.

    Raises:
      ValueError: one line: a recipe or field that cannot run, or a directory that holds a run with
        another configuration.
    """
    config = _config(recipe, overrides, seeds)
    if methods:
        config.method = methods
    kinds = []
    if methods or not named:
        checked = validate(config, 1)
        kinds = [Kind(m, m, tuple(overrides), checked) for m in selected_methods(checked.method)]
    kinds += [_named(text, recipe, overrides, seeds) for text in named]
    names = [kind.name for kind in kinds]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"--run = {name!r}: must be distinct, and no method of the sweep")
    if baseline is not None and baseline not in names:
        raise ValueError(f"--baseline = {baseline!r}: must be one of {', '.join(names)}")
    workdir = user_path(str(workdir or default_workdir(config)))
    run_directory.check_place(workdir)

    jobs = []
    for seed in config.seeds:
        for kind in kinds:
            place = workdir / f"{kind.name}-s{seed}"
            fields = run_directory.run_config(kind.config, kind.method, seed)
            run_directory.check_same(place, fields)
            words = (
                *(sys.executable, "-m", "varmixup_jax.main", f"--config={recipe}"),
                *(f"--import={module}" for module in modules),
                *(*kind.overrides, f"--config.method={kind.method}"),
                *(f"--config.seeds=({seed},)", f"--workdir={place}"),
            )
            log = workdir / "logs" / f"{place.name}.log"
            jobs.append(Job(place.name, place, log, words, run_directory.is_done(place)))
    first = f"{baseline or config.eval.baseline}-s{config.seeds[0]}"
    return Sweep(tuple(jobs), next((job for job in jobs if job.name == first), None), workdir)


def _named(text: str, recipe: str, overrides: Sequence[str], seeds: str) -> Kind:
    """The run described by a `--run`."""
    name, method, *fields = [*shlex.split(text), "", ""]
    fields = fields[:-2]
    if not method or not re.fullmatch(r"[\w.+-]+", name):
        raise ValueError(f"--run = {text!r}: must be NAME METHOD [FIELD=VALUE ...]")
    own = tuple(f"--config.{field}" for field in fields)
    unknown = unknown_field(own)
    if unknown is not None:
        raise ValueError(f"--run = {text!r}: {unknown}")
    config = _config(recipe, (*overrides, *own), seeds)
    config.method = method
    checked = validate(config, 1)
    if selected_methods(checked.method) != (method,):
        raise ValueError(f"--run = {text!r}: must name one method")
    return Kind(name, method, (*overrides, *own), checked)


def _config(recipe: str, overrides: Sequence[str], seeds: str) -> ConfigDict:
    """The configuration that `varmixup_jax.main` makes of the same words, with the seeds, if any."""
    for word in overrides:
        name, equals, _ = word.removeprefix("--").partition("=")
        if not word.startswith("--config.") or not equals:
            raise ValueError(f"argument {word!r}: not understood, fields are --config.NAME=VALUE")
        if name in OWN_FLAGS:
            raise ValueError(f"argument {word!r}: must be given as {OWN_FLAGS[name]}")
    config = read_config(recipe, overrides)
    if seeds:
        config.seeds = _seeds(seeds)
    return config


def _seeds(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(word) for word in text.split(","))
    except ValueError:
        text = f"--seeds = {text!r}: must be whole numbers separated by commas"
        raise ValueError(text) from None
