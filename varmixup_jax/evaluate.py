"""Evaluates runs that have ended once more, without training anything.

    python -m varmixup_jax.evaluate RUN [RUN ...] --out=DIR [--config.eval.FIELD=VALUE ...]

For instance on the published files of corrupted images, or under a stronger attack:

    python -m varmixup_jax.evaluate runs/a --out=runs/a-published --config.eval.corruptions=CIFAR-10-C
    python -m varmixup_jax.evaluate runs/a --out=runs/a-apgd --config.eval.apgd_steps=100

RUN is a run directory or one that holds some. Fields that are not given are those of the run; what
was trained cannot be changed. DIR gets a run directory for each, and the page that compares them.
Exit codes: 0 done; 2 the request cannot be carried out (one line says why; no run was touched);
4 the disk is full or broken; 5 another process of this command was lost; 143 SIGTERM came, 130
Ctrl-C. The same command evaluates only what is missing.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from absl import flags
from ml_collections import config_flags

from varmixup_jax import cluster
from varmixup_jax.cluster.launchers import MODES
from varmixup_jax.compilation_cache import enable
from varmixup_jax.config import base_config
from varmixup_jax.errors import exit_code, refuse
from varmixup_jax.report.rows import flatten
from varmixup_jax.runs.preemption import Preemption
from varmixup_jax.runs.reevaluate import evaluate_again

PREFIX = "config."


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if {"--help", "-h", "-help"} & set(arguments):
        print(__doc__)
        return 0
    try:
        runs, options, changes = _parsed(arguments)
    except (flags.Error, ValueError, TypeError, AttributeError, KeyError) as error:
        return refuse(error, 2, arguments)

    def run() -> None:
        enable()
        cluster.initialize(mode=options.cluster)
        preemption = Preemption()
        preemption.install()
        evaluate_again(
            runs, Path(options.out), changes, baseline=options.baseline, preemption=preemption
        )

    return exit_code(run, arguments)


def _parsed(arguments: Sequence[str]) -> tuple[list[Path], flags.FlagValues, dict[str, Any]]:
    """The runs, the flags, and the fields that the command line changes, each of its type."""
    known = flags.FlagValues()
    flags.DEFINE_string("out", None, "Where the new results go.", flag_values=known)
    flags.DEFINE_string("baseline", None, "Method that mCE is relative to.", flag_values=known)
    flags.DEFINE_enum("cluster", "auto", MODES, "What started the processes.", flag_values=known)
    flags.DEFINE_bool("debug", False, "Show the traceback of an error.", flag_values=known)
    words = ["varmixup_jax.evaluate", *arguments]
    holder = config_flags.DEFINE_config_dict(
        "config", base_config(), flag_values=known, sys_argv=words
    )
    runs = [Path(word) for word in known(words)[1:]]
    if not runs:
        raise ValueError("RUN: must name a run directory, or one that holds some")
    if not known.out:
        raise ValueError("--out = None: must name the directory for the new results")
    fields = flatten(holder.value.to_dict())
    given = {word.lstrip("-").split("=")[0] for word in arguments if word.startswith("-")}
    names = {word.removeprefix("no") if word not in fields else word for word in given}
    changed = [n.removeprefix(PREFIX) for n in names if n.startswith(PREFIX)]
    return runs, known, {name: fields[name] for name in sorted(changed)}


if __name__ == "__main__":
    sys.exit(main())
