"""Evaluates finished runs again, without training anything: `varmixup evaluate`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Any

from absl import flags

from varmixup_jax import cluster, compilation, evaluate_model
from varmixup_jax.atomic_files import user_path
from varmixup_jax.cluster.launchers import MODES
from varmixup_jax.command_line import FIELD, Parser, change_fields, imported
from varmixup_jax.config import base_config
from varmixup_jax.errors import exit_code, refuse
from varmixup_jax.evaluation.any_model import evaluate
from varmixup_jax.evaluation.results import Results
from varmixup_jax.runs.preemption import PREEMPTION
from varmixup_jax.runs.reevaluate import evaluate_again
from varmixup_jax.saved_config import flatten

USAGE = """varmixup evaluate RUN [RUN ...] --out=DIR [--config.eval.FIELD=VALUE ...]
       varmixup evaluate --model=MODULE:FUNCTION --data=SOURCE --out=DIR  (see --model --help)
       varmixup evaluate --logits=FILE.npz --out=DIR"""
DESCRIPTION = """Evaluates finished runs again, without training anything: on published files of
corrupted images, for instance, or under a stronger attack.

examples:
  varmixup evaluate runs/a --out=runs/a-published --config.eval.corruptions=CIFAR-10-C
  varmixup evaluate runs/a --out=runs/a-apgd --config.eval.apgd_steps=100

Fields that are not given are those of the run; what was trained cannot be changed. DIR gets a run
directory for each, and the page that compares them. The same command evaluates only what is missing."""
EPILOG = """exit codes:
  0    done
  2    the request cannot be carried out: one line says why, and no run was touched
  4    the disk is full or broken
  5    another process of this command was lost
  130  Ctrl-C
  143  SIGTERM"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if any(word.split("=")[0] in evaluate_model.SOURCES for word in arguments):
        return evaluate_model.main(arguments)
    try:
        options, words = parser().parse(arguments)
        for name in options.modules:
            imported(name)
        changes = changed_fields(words)
    except (flags.Error, ValueError, TypeError, AttributeError, KeyError) as error:
        return refuse(error, 2, arguments)

    def run() -> None:
        compilation.configure()
        cluster.initialize(mode=options.cluster)
        PREEMPTION.install()
        evaluate_again(options.runs, options.out, changes, baseline=options.baseline)

    return exit_code(run, arguments)


def parser() -> Parser:
    """The flags, except those that change fields."""
    made = Parser(prog="varmixup evaluate", usage=USAGE, description=DESCRIPTION, epilog=EPILOG)
    made.add_argument(
        "runs",
        metavar="RUN",
        nargs="+",
        type=user_path,
        help="a run directory, or one that holds some",
    )
    made.add_argument(
        "--out", metavar="DIR", type=user_path, required=True, help="where the new results go"
    )
    made.add_argument("--baseline", metavar="METHOD", help="the method that mCE is relative to")
    made.add_modules()
    made.add_argument("--cluster", choices=MODES, default="auto", help="what started the processes")
    made.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return made


def changed_fields(words: Sequence[str]) -> dict[str, Any]:
    """The fields that `--config.FIELD=VALUE` words change, with values of their types."""
    fields = flatten(change_fields(base_config(), words).to_dict())
    names = {FIELD.sub("", word.split("=")[0]) for word in words if FIELD.match(word)}
    return {name: fields[name] for name in sorted(names)}


class _Evaluate(ModuleType):
    """Makes the module callable: importing it shadows the function `varmixup_jax.evaluate`."""

    def __call__(self, *arguments: Any, **settings: Any) -> Results:
        return evaluate(*arguments, **settings)


sys.modules[__name__].__class__ = _Evaluate

if __name__ == "__main__":
    sys.exit(main())
