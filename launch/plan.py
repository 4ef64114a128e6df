"""What a sweep consists of: one process per method and seed, each in a directory of its own."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from absl import flags
from ml_collections import ConfigDict, config_flags

from varmixup_jax.config import selected_methods
from varmixup_jax.runs import run_directory
from varmixup_jax.validation import check_fields, validate

OWN_FLAGS = {"config.method": "--methods", "config.seeds": "--seeds"}


class Job(NamedTuple):
    """One run.

    Attributes:
      name: `<method>-s<seed>`.
      place: its run directory, as `varmixup_jax.main` lays out a sweep of its own.
      log: the file for what it prints.
      words: the command.
      done: whether it ended with all its results; it is not run again then.
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


def plan(
    recipe: str,
    methods: str,
    seeds: str,
    workdir: Path,
    overrides: Sequence[str] = (),
    baseline: str | None = None,
) -> Sweep:
    """Checks everything that can be checked without a device, and lists the runs.

    Args:
      recipe: `configs/NAME.py[:WORDS]`.
      methods: several separated by commas, or "all"; "" for the recipe's own.
      seeds: whole numbers separated by commas; "" for the recipe's own.
      workdir: the runs live in `workdir/<method>-s<seed>`.
      overrides: `--config.x=y`.
      baseline: a method of the sweep; None for `config.eval.baseline` where it is run.

    Raises:
      ValueError: one line: a recipe or field that cannot run, or a directory that holds a run with
        another configuration.
    """
    for word in overrides:
        name, equals, _ = word.removeprefix("--").partition("=")
        if not word.startswith("--config.") or not equals:
            raise ValueError(f"argument {word!r}: not understood, fields are --config.NAME=VALUE")
        if name in OWN_FLAGS:
            raise ValueError(f"argument {word!r}: must be given as {OWN_FLAGS[name]}")
    config = _config(recipe, overrides)
    if methods:
        config.method = methods
    if seeds:
        config.seeds = _seeds(seeds)
    validate(config, 1)
    run_directory.check_place(workdir)
    chosen = selected_methods(config)
    if baseline is not None and baseline not in chosen:
        raise ValueError(f"--baseline = {baseline!r}: must be one of {', '.join(chosen)}")

    jobs = []
    for seed in config.seeds:
        for method in chosen:
            place = workdir / f"{method}-s{seed}"
            run_directory.check_same(place, run_directory.run_config(config, method, seed))
            words = (sys.executable, "-m", "varmixup_jax.main", f"--config={recipe}", *overrides)
            words += (f"--config.method={method}", f"--config.seeds=({seed},)")
            words += (f"--workdir={place}",)
            log = workdir / "logs" / f"{place.name}.log"
            jobs.append(Job(place.name, place, log, words, run_directory.is_done(place)))
    first = f"{baseline or config.eval.baseline}-s{config.seeds[0]}"
    return Sweep(tuple(jobs), next((job for job in jobs if job.name == first), None))


def _config(recipe: str, overrides: Sequence[str]) -> ConfigDict:
    """What `varmixup_jax.main` makes of the same words."""
    if not Path(recipe.split(":")[0]).is_file():
        raise ValueError(f"--config = {recipe!r}: no such file, must be a recipe")
    words = ["launch.sweep", f"--config={recipe}", *overrides]
    known = flags.FlagValues()
    holder = config_flags.DEFINE_config_file("config", None, "", flag_values=known, sys_argv=words)
    known(words)
    check_fields(holder.value)
    return holder.value


def _seeds(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(word) for word in text.split(","))
    except ValueError:
        text = f"--seeds = {text!r}: must be whole numbers separated by commas"
        raise ValueError(text) from None
