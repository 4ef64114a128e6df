"""Trains and evaluates what a recipe names, one run for each method and seed.

    python -m varmixup_jax.main --config=FILE[:METHODS] [--workdir=DIR] [--config.FIELD=VALUE ...]

    python -m varmixup_jax.main --config=configs/digits.py
    python -m varmixup_jax.main --config=configs/digits.py:erm,varmixup --config.epochs=5
    python -m varmixup_jax.main --config=configs/digits.py:all --config.seeds='(0,1,2)'

--config takes a recipe, configs/NAME.py, and behind a colon a method, several separated by commas, or
all. `--config.FIELD=VALUE` changes a field of it, e.g. `--config.optim.learning_rate=0.05`;
`python -m varmixup_jax.fields` lists them all with default, unit and meaning. The same command
again resumes what was interrupted and skips what is done.

Exit codes: 0 done; 2 the request cannot be carried out (one line says why; nothing was written);
3 a loss stopped being finite (the last good checkpoint is kept); 4 the disk is full or broken (the
last whole checkpoint is kept); 5 another process of this run was lost (a line names it; the same
command resumes); 143 SIGTERM came, 130 Ctrl-C (the state is saved, the same command resumes; either
a second time ends the process at once).

Several processes: under SLURM, Open MPI, on TPU hosts and in Kubernetes jobs they find each other;
elsewhere each is given `--coordinator=HOST:PORT --num_processes=N --process_id=I`.
"""

from __future__ import annotations

import os
import sys

from absl import flags
from ml_collections import ConfigDict, config_flags

from varmixup_jax import cluster, runs
from varmixup_jax.cluster.launchers import MODES
from varmixup_jax.compilation_cache import enable
from varmixup_jax.errors import exit_code, recipe_of, refuse
from varmixup_jax.runs.preemption import Preemption
from varmixup_jax.validation import check_fields

CONFIG = config_flags.DEFINE_config_file("config", None, "A recipe, configs/NAME.py[:METHODS].")
WORKDIR = flags.DEFINE_string("workdir", None, "Where the runs live; default runs/DATA-METHODS.")
COORDINATOR = flags.DEFINE_string("coordinator", None, "host:port of process 0, of several.")
PROCESSES = flags.DEFINE_integer("num_processes", None, "How many processes there are.")
PROCESS = flags.DEFINE_integer("process_id", None, "Which of them this is, from 0.")
CLUSTER = flags.DEFINE_enum("cluster", "auto", MODES, "What started the processes.")
HELP = ("--help", "-help", "-h")
DEBUG = flags.DEFINE_bool("debug", False, "Show the traceback of an error.")


def main() -> int:
    """Parses the command line, runs, and turns refusals into one line and an exit code."""
    if any(word in HELP for word in sys.argv[1:]):
        print(_usage())
        return 0
    try:
        config = _config()
    except (Exception, SystemExit) as error:  # a recipe can raise anything
        return refuse(error, 2, sys.argv)
    return exit_code(lambda: _run(config), sys.argv)


def _run(config: ConfigDict) -> None:
    name = config.data.source.replace(":", "-").replace("/", "-")
    workdir = WORKDIR.value or f"runs/{name}-{config.method.replace(',', '-')}"
    if config.parallel.deterministic:
        # Read when the first device is asked for.
        flags_ = f"{os.environ.get('XLA_FLAGS', '')} --xla_gpu_deterministic_ops=true"
        os.environ["XLA_FLAGS"] = flags_.strip()
    enable()
    where = (COORDINATOR.value, PROCESSES.value, PROCESS.value)
    cluster.initialize(*where, mode=CLUSTER.value)
    preemption = Preemption()
    preemption.install()
    runs.run(config, workdir, preemption)


def _usage() -> str:
    """This module's docstring and a line for each flag."""
    own = (CONFIG, WORKDIR, COORDINATOR, PROCESSES, PROCESS, CLUSTER, DEBUG)
    lines = [f"  --{name:<14} {flags.FLAGS[name].help}" for name in (holder.name for holder in own)]
    return "\n".join([__doc__.rstrip(), "", "Flags:", *lines])


def _config() -> ConfigDict:
    """The recipe with the fields that the command line changes, each of its type."""
    recipe = recipe_of(sys.argv)
    if recipe is not None and not recipe.is_file():
        raise ValueError(f"--config = {str(recipe)!r}: no such file, must be a recipe")
    rest = flags.FLAGS(sys.argv)[1:]
    if rest:
        raise ValueError(f"argument {rest[0]!r}: not understood, flags begin with --")
    if recipe is None:
        raise ValueError("--config = None: must name a recipe, e.g. configs/digits.py")
    getattr(CONFIG.value, "lock", None)  # stands for an OSError of the recipe, and raises it here
    check_fields(CONFIG.value)
    return CONFIG.value


if __name__ == "__main__":
    sys.exit(main())
