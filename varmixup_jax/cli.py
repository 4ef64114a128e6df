"""The command `varmixup`: its first word names a command, which gets the remaining words.

Nothing slow is imported before that word is known.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence

from varmixup_jax.version import __version__

COMMANDS = {  # the module of each, and a summary
    "train": ("main", "train and evaluate what a recipe names"),
    "evaluate": ("evaluate", "evaluate finished runs on other data or with other measures"),
    "report": ("report.__main__", "compare runs on one page"),
    "sweep": ("launch.sweep", "train many runs, several at a time or on SLURM"),
    "corrupt": ("corruptions.__main__", "corrupt images as CIFAR-10-C does"),
    "data prepare": ("data.prepare", "download and prepare a data set"),
    "data verify": ("data.verify", "check a data set and print its statistics"),
    "methods": ("methods.__main__", "list the methods and their terms"),
    "fields": ("fields", "list the fields of the configuration"),
}
DESCRIPTION = """VarMixup and related methods in JAX: training, evaluation under corruption, calibration.

examples:
  varmixup train --config=digits
  varmixup evaluate runs/a --out=runs/a-published --config.eval.corruptions=CIFAR-10-C
  varmixup report runs/a runs/b --out=compared"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command; returns its exit code."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    for name, (module, _) in COMMANDS.items():
        length = len(name.split())
        if arguments[:length] == name.split():
            # As with `python -m` of the module: a run records its command.
            sys.argv[1:] = arguments[length:]
            return importlib.import_module(f"varmixup_jax.{module}").main(sys.argv[1:])
    _parser().parse_args(arguments)
    _parser().print_help()
    return 0


def _parser() -> argparse.ArgumentParser:
    """The parser for help and errors; it accepts no command, as existing ones are found earlier."""
    lines = [f"  {name:<14}{summary}" for name, (_, summary) in COMMANDS.items()]
    parser = argparse.ArgumentParser(
        prog="varmixup",
        usage="varmixup COMMAND [ARGUMENT ...]",
        description="\n".join([DESCRIPTION, "", "commands:", *lines]),
        epilog="`varmixup COMMAND --help` describes a command.\n"
        "`python -m varmixup_jax COMMAND` does the same if the script is not installed.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"varmixup_jax {__version__}")
    parser.add_argument("command", nargs="?", choices=list(COMMANDS), help=argparse.SUPPRESS)
    return parser
