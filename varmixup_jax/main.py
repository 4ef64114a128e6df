"""Trains and evaluates what a recipe names, one run for each method and seed: `varmixup train`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from varmixup_jax import cluster, compilation, runs
from varmixup_jax.cluster.launchers import MODES
from varmixup_jax.command_line import (
    Parser,
    default_workdir,
    imported,
    read_config,
    without_effect,
)
from varmixup_jax.config import freeze, selected_methods
from varmixup_jax.errors import exit_code, refuse
from varmixup_jax.fields import Config
from varmixup_jax.runs.preemption import PREEMPTION

USAGE = "varmixup train --config=RECIPE[:WORDS] [--workdir=DIR] [--config.FIELD=VALUE ...]"
DESCRIPTION = """Trains and evaluates what a recipe names, one run for each method and seed.

examples:
  varmixup train --config=digits
  varmixup train --config=digits:erm,varmixup --config.epochs=5
  varmixup train --config=digits:all --config.seeds='(0,1,2)' --workdir=runs/nine
  varmixup train --config=my_recipe.py --import=my_methods

--config.FIELD=VALUE changes a field of the recipe, e.g. --config.optim.learning_rate=0.05;
`varmixup fields` lists them all with default, unit and meaning. The same command again resumes what
was interrupted and skips what is done."""
EPILOG = """exit codes:
  0    done
  2    the request cannot be carried out: one line says why, and nothing was written
  3    a loss stopped being finite; the last good checkpoint is kept
  4    the disk is full or broken; the last whole checkpoint is kept
  5    another process of this run was lost: a line says so; the same command resumes
  130  Ctrl-C, and 143 SIGTERM: the state is saved and the same command resumes; either of them a
       second time ends the process at once

Several processes find each other under SLURM, Open MPI, on TPU hosts and in Kubernetes; elsewhere
each is given --coordinator=HOST:PORT --num_processes=N --process_id=I."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Parses the command line, runs, and turns errors into one line and an exit code."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    try:
        options, words = parser().parse(arguments)
    except ValueError as error:
        return refuse(error, 2, arguments)
    try:
        for name in options.modules:
            imported(name)
        config = freeze(read_config(options.config, words))
        for name in without_effect(words, selected_methods(config.method)):
            print(f"note: {name} has no effect, its method is not run", file=sys.stderr)
    except (Exception, SystemExit) as error:  # a recipe can raise anything
        return refuse(error, 2, arguments)
    return exit_code(lambda: _run(options, config), arguments)


def parser() -> Parser:
    """The flags, except those that change fields."""
    made = Parser(prog="varmixup train", usage=USAGE, description=DESCRIPTION, epilog=EPILOG)
    made.add_recipe()
    made.add_argument("--debug", action="store_true", help="show the traceback of an error")
    several = made.add_argument_group("several processes")
    several.add_argument("--coordinator", metavar="HOST:PORT", help="of process 0")
    several.add_argument("--num_processes", metavar="N", type=int, help="how many there are")
    several.add_argument("--process_id", metavar="I", type=int, help="which this is, from 0")
    several.add_argument(
        "--cluster", choices=MODES, default="auto", help="what started them (default: auto)"
    )
    return made


def _run(options: argparse.Namespace, config: Config) -> None:
    compilation.configure(deterministic=config.parallel.deterministic)
    where = (options.coordinator, options.num_processes, options.process_id)
    cluster.initialize(*where, mode=options.cluster)
    PREEMPTION.install()
    runs.run(config, options.workdir or default_workdir(config))


if __name__ == "__main__":
    sys.exit(main())
