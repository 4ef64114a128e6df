"""Evaluates a model that was trained elsewhere, or its logits: `varmixup evaluate --model=...`."""

from __future__ import annotations

import ast
import importlib
import inspect
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

from varmixup_jax.atomic_files import user_path
from varmixup_jax.command_line import Parser, import_modules
from varmixup_jax.compilation_cache import enable
from varmixup_jax.data import load
from varmixup_jax.errors import exit_code, refuse
from varmixup_jax.evaluation.any_model import evaluate, evaluate_logits
from varmixup_jax.evaluation.results import Results
from varmixup_jax.logits_file import FILE

SOURCES = ("--model", "--logits")  # the flags that ask for this command
USAGE = """varmixup evaluate --model=MODULE:FUNCTION --data=SOURCE --out=DIR [--SETTING=VALUE ...]
       varmixup evaluate --logits=FILE.npz --out=DIR [--name=NAME] [--outputs=probabilities]"""
DESCRIPTION = f"""Evaluates any model, of whatever framework, as trained runs are evaluated, or what it
said of the test images. DIR gets a run directory and its page, DIR/report.html; `varmixup report DIR
runs/... --out=compared` puts it beside others.

examples:
  varmixup evaluate --model=mine:logits --data=digits --out=runs/mine
  varmixup evaluate --model=mine:net --data=tfds:cifar10 --layout=NCHW --out=runs/net \\
      --corruptions=CIFAR-10-C
  varmixup evaluate --model=mine:forest --data=npz:mine.npz --outputs=probabilities --out=runs/forest
  varmixup evaluate --logits={FILE} --dataset=cifar10 --out=runs/theirs

mine.py (in the working directory, or installed) defines `logits`: a batch of pixels in [0, 1],
[B, H, W, C] or [B, C, H, W], to scores [B, K]. The file of logits has `labels` [N], `clean` [N, K] and,
for corrupted views, `fog/3` [N, K]; docs/measures.md describes it, and every number."""


def main(arguments: Sequence[str]) -> int:
    """Runs the command; returns its exit code."""
    if {"-h", "--help"} & set(arguments):  # also behind a flag that asks for this command
        parser().print_help()
        return 0
    try:
        options = parser().parse_args(list(arguments))
        import_modules(options.modules)
        if (options.model is None) == (options.logits is None):
            raise ValueError("--model, --logits: must be one of the two")
        if options.model and not options.data:
            raise ValueError("--data: is missing, must be the source of the test images")
        if any((options.out / name).exists() for name in ("summary.json", "results.jsonl")):
            raise ValueError(f"--out = {options.out}: holds a run, must be a new directory")
    except (ValueError, TypeError) as error:
        return refuse(error, 2, arguments)

    def run() -> None:
        from varmixup_jax import report  # pandas is slow to import
        from varmixup_jax.report.closing_table import print_table

        enable()
        results = _of_logits(options) if options.logits else _of_model(options)
        results.save(options.out)
        page = report.write([options.out], options.out)
        print_table([results.as_run()])
        print(f"page: {page}")

    return exit_code(run, arguments)


def parser() -> Parser:
    """The flags: those of this command, and every setting of `evaluate`."""
    made = Parser(prog="varmixup evaluate", usage=USAGE, description=DESCRIPTION)
    made.add_argument("--model", metavar="MODULE:FUNCTION", help="the function of a batch")
    made.add_argument("--logits", metavar="FILE", type=user_path, help="what a model said, as npz")
    made.add_argument(
        "--data", metavar="SOURCE", help="as `data.source`: digits, tfds:cifar10, ..."
    )
    made.add_argument("--data_dir", metavar="DIR", help="as `data.dir`")
    made.add_argument("--out", metavar="DIR", type=user_path, required=True, help="a new directory")
    made.add_argument("--debug", action="store_true", help="show the traceback of an error")
    made.add_modules()
    for name, default in _settings(evaluate).items():
        made.add_argument(
            f"--{name}",
            type=_reader(default),
            metavar=type(default).__name__.upper(),
            help=f"default: {default if default != '' else 'none'}",
        )
    return made


def _settings(function: Callable[..., Any]) -> dict[str, Any]:
    """Keywords with defaults that a word can stand for."""
    return {
        name: parameter.default
        for name, parameter in inspect.signature(function).parameters.items()
        if isinstance(parameter.default, (str, int, float, tuple))
    }


def _reader(default: Any) -> Callable[[str], Any]:
    if isinstance(default, bool):
        return lambda word: {"true": True, "false": False}[word.lower()]
    if isinstance(default, tuple):
        return lambda word: tuple(map(float, ast.literal_eval(word)))
    return type(default)


def _given(options: Any, function: Callable[..., Any]) -> dict[str, Any]:
    names = inspect.signature(function).parameters
    found = {name: value for name, value in vars(options).items() if name in names}
    return {name: value for name, value in found.items() if value is not None}


def _of_logits(options: Any) -> Results:
    return evaluate_logits(options.logits, **_given(options, evaluate_logits))


def _of_model(options: Any) -> Results:
    model = _imported(options.model)
    data = load(options.data, data_dir=options.data_dir, val_fraction=0.0, split_seed=0)
    images = data.test_images
    settings = {"dataset": data.name, "name": options.model, **_given(options, evaluate)}
    if settings.get("layout") == "NCHW":
        images = images.transpose(0, 3, 1, 2)
    names = settings.get("corruptions", "")
    if "," in names:
        settings["corruptions"] = names.split(",")
    return evaluate(model, images, data.test_labels, **settings)


def _imported(path: str) -> Callable[[Any], Any]:
    """The object that `MODULE:NAME` names, also of a module in the working directory.

    Raises:
      ValueError: there is no such module or name.
    """
    module, _, name = path.partition(":")
    if not name:
        raise ValueError(f"--model = {path!r}: must be MODULE:FUNCTION, as mine:logits")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        found: Any = importlib.import_module(module)
    except ImportError as error:
        raise ValueError(f"--model = {path!r}: {error}") from error
    for part in name.split("."):
        if not hasattr(found, part):
            raise ValueError(f"--model = {path!r}: module {module} has no {part!r}")
        found = getattr(found, part)
    return found
