"""Runs x seeds, one process each, on this machine or as a SLURM job array: `varmixup sweep`."""

from __future__ import annotations

import argparse
import shlex
import signal
import sys
from collections.abc import Sequence
from typing import Any

from varmixup_jax import checks, report
from varmixup_jax.command_line import Parser, imported
from varmixup_jax.errors import described
from varmixup_jax.runs import run_directory

from . import on_local, on_slurm
from .plan import Sweep, plan
from .run_logs import last_lines

USAGE = "varmixup sweep --config=RECIPE[:WORDS] [--methods=...] [--seeds=...] [--workdir=DIR] ..."
DESCRIPTION = """Runs x seeds, one process each, on this machine or as a SLURM job array; then the page
that compares them. Runs are in WORKDIR/METHOD-sSEED, where `varmixup train` keeps those of a sweep,
so that either resumes what the other started: finished runs are skipped, interrupted ones resume. The
first run that needs the VAE trains it; the others wait for it.

examples:
  varmixup sweep --config=digits --methods=erm,varmixup --seeds=0,1 --workdir=runs/digits --parallel=2
  varmixup sweep --config=cifar10 --methods=all --workdir=runs/nine --on=slurm --config.epochs=20
  varmixup sweep --config=digits --workdir=runs/fields \\
      --run='half varmixup methods.varmixup.clean_weight=0.5' --run='narrow varmixup vae.width=16'

Fields of the recipe are changed as in `varmixup train`, by --config.FIELD=VALUE."""
EPILOG = """With --parallel=N and fewer than N GPUs, several runs share a GPU, each with a part of its
memory: one compiles or evaluates while another trains.

exit codes:
  0    all runs are done
  1    some runs failed: their names and the ends of their logs are shown
  2    the request cannot be carried out: one line says why
  143  a signal came or the budget was used up: the same command resumes"""

TAIL = 8  # lines of a failed run's log that are shown
STOPPED = 143  # exit code of a sweep, or of a run, that can be resumed
RESUMES, NOT_BEGUN = "stopped; it resumes", "not begun"


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    try:
        options, overrides = parser().parse(arguments)
    except ValueError as error:
        print(f"error: {described(error, arguments)}", file=sys.stderr)
        return 2
    try:
        for name in options.modules:
            imported(name)
        checks.whole(1, **{"--parallel": options.parallel})
        _check_budget(options)
        sweep = plan(
            options.config,
            options.methods,
            options.seeds,
            options.workdir,
            overrides,
            options.baseline,
            options.run,
            options.modules,
        )
        settings = _settings(options)
    except (Exception, SystemExit) as error:  # a recipe can raise anything
        print(f"error: {described(error, arguments)}", file=sys.stderr)
        return 2
    todo = [job for job in sweep.jobs if not job.done]
    for job in sweep.jobs:
        _say(f"{job.name}: done before" if job.done else shlex.join(job.words))
    if options.dry_run:
        return 0
    try:
        outcome = on_local.Outcome({}, "")
        if todo and options.on == "slurm":
            on_slurm.run(todo, options.parallel, settings, _say)
        elif todo:
            outcome = on_local.run(todo, options.parallel, _say, options.budget)
        if outcome.stopped:
            _say(f"stopped by {outcome.stopped}")
        code = _conclude(sweep, outcome)
        if outcome.stopped and code:
            again = shlex.join(["varmixup", "sweep", *arguments])
            _say(f"to do the rest, run the same command: {again}")
            return STOPPED
        return code
    except (ValueError, OSError) as error:
        print(f"error: {described(error, [])}", file=sys.stderr)
        return 2


def parser() -> Parser:
    """The flags, except those that change fields."""
    parser = Parser(prog="varmixup sweep", usage=USAGE, description=DESCRIPTION, epilog=EPILOG)
    parser.add_recipe()
    for name, text in {
        "--methods": "separated by commas, or all (default: the recipe's, or none beside --run)",
        "--seeds": "whole numbers separated by commas (default: the recipe's)",
    }.items():
        parser.add_argument(name, default="", help=text)
    parser.add_argument(
        "--run",
        action="append",
        default=[],
        metavar="'NAME METHOD [FIELD=VALUE ...]'",
        help="a run with its own fields; may be given several times",
    )
    parser.add_argument("--on", default="local", choices=("local", "slurm"), help="where to run")
    parser.add_argument("--parallel", type=int, default=1, help="runs at a time (default 1)")
    parser.add_argument("--budget", type=float, help="seconds, with --on=local (default: no limit)")
    parser.add_argument("--baseline", help="method or named run that mCE is relative to")
    parser.add_argument("--dry_run", action="store_true", help="print the commands and do nothing")
    slurm = parser.add_argument_group("with --on=slurm")
    slurm.add_argument("--partition", help="default: the cluster's")
    slurm.add_argument("--gpus", type=int, default=1, help="of each run (default 1)")
    slurm.add_argument("--cpus", type=int, default=8, help="of each run (default 8)")
    slurm.add_argument("--time", default="24:00:00", help="limit of each run (default 24:00:00)")
    slurm.add_argument(
        "--sbatch",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="another option of sbatch, e.g. --sbatch=account=me; may be given several times",
    )
    return parser


def _settings(options: argparse.Namespace) -> dict[str, Any]:
    """Options for sbatch."""
    checks.whole(0, **{"--gpus": options.gpus})
    checks.whole(1, **{"--cpus": options.cpus})
    settings: dict[str, Any] = {"cpus-per-task": options.cpus, "time": options.time}
    if options.partition:
        settings["partition"] = options.partition
    if options.gpus:
        settings["gpus-per-node"] = options.gpus
    for word in options.sbatch:
        name, equals, value = word.partition("=")
        if not name or not equals:
            raise ValueError(f"--sbatch = {word!r}: must be NAME=VALUE")
        settings[name] = value
    return settings


def _check_budget(options: argparse.Namespace) -> None:
    if options.budget is None:
        return
    checks.positive(**{"--budget": options.budget})
    if options.on != "local":
        raise ValueError(f"--budget = {options.budget:g}: is for --on=local; SLURM's is --time")


def _conclude(sweep: Sweep, outcome: on_local.Outcome) -> int:
    """Writes the page, names every run that is not done, and shows the ends of failed runs' logs."""
    left = [job for job in sweep.jobs if not run_directory.is_done(job.place)]
    begun = [job.place for job in sweep.jobs if (job.place / "summary.json").exists()]
    if len(left) < len(sweep.jobs):
        page = report.write(begun, sweep.workdir, _baseline(sweep))
        _say((sweep.workdir / "report.md").read_text(encoding="utf-8").rstrip())
        _say(f"page: {page}")
    for job in left:
        how = _how_it_ended(outcome.codes.get(job.name), bool(outcome.stopped))
        failed = how not in (RESUMES, NOT_BEGUN)
        _say(f"{job.name}: {how}" + (f"; the end of {job.log}:" if failed else ""))
        for line in (last_lines(job.log, TAIL) or ["(nothing was printed)"]) if failed else ():
            _say(f"    {line}")
    _say(f"{len(sweep.jobs) - len(left)} of {len(sweep.jobs)} runs done")
    return 1 if left else 0


def _how_it_ended(code: int | None, stopped: bool) -> str:
    """The status of an unfinished run, from its exit code if known."""
    if code is None and stopped:
        return NOT_BEGUN
    if code == STOPPED:
        return RESUMES
    if code is not None and code - 128 in signal.valid_signals():
        return f"killed by {signal.Signals(code - 128).name}"
    return "failed"


def _baseline(sweep: Sweep) -> str | None:
    job = sweep.baseline
    return None if job is None or len(sweep.jobs) == 1 else run_directory.finished_run(job.place)


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
