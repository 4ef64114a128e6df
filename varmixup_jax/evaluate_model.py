"""Evaluates a model that was trained elsewhere, or its logits: `varmixup evaluate --model=...`."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from varmixup_jax import checks, compilation, logits_file
from varmixup_jax.atomic_files import obstacle, read_arrays, user_path
from varmixup_jax.command_line import Parser, imported
from varmixup_jax.corruptions.clean_set import read_clean_set, read_images
from varmixup_jax.data import Dataset, load
from varmixup_jax.errors import exit_code, refuse
from varmixup_jax.evaluation.any_model import evaluate, evaluate_logits
from varmixup_jax.evaluation.record import CLEAN
from varmixup_jax.evaluation.results import Results
from varmixup_jax.logits_file import FILE

SOURCES = ("--model", "--logits")  # the flags that ask for this command
USAGE = """varmixup evaluate --model=MODULE:FUNCTION --data=SOURCE --out=DIR [--SETTING=VALUE ...]
       varmixup evaluate --logits=FILE.npz --out=DIR [--name=NAME] [--outputs=probabilities]"""
DESCRIPTION = f"""Evaluates a model of any framework, or its saved logits of the test images, in
the same way as trained runs. DIR gets a run directory and its page, DIR/report.html;
`varmixup report DIR runs/... --out=compared` compares it with others.

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
    if {"-h", "--help"} & set(arguments):  # also after a flag that selects this command
        parser().print_help()
        return 0
    try:
        options = parser().parse_args(list(arguments))
        for name in options.modules:
            imported(name)
        if (options.model is None) == (options.logits is None):
            raise ValueError("--model, --logits: must be one of the two")
        if options.model and not options.data:
            raise ValueError("--data: is missing, must be the source of the test images")
        names = [name for name, _ in map(_named, options.ood)]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"--ood = {name}=...: was given before, must have another name")
        for flag in ("data", "data_dir", *_settings(evaluate)) if options.logits else ():
            if getattr(options, flag) is not None and flag not in _settings(evaluate_logits):
                raise ValueError(f"--{flag}: does not apply to --logits, must be left out")
        if any((options.out / name).exists() for name in ("summary.json", "results.jsonl")):
            raise ValueError(f"--out = {options.out}: holds a run, must be a new directory")
        there = obstacle(options.out)
        if there is not None:
            text = f"must be a directory that can be written to, {there} is not"
            raise ValueError(f"--out = {options.out}: {text}")
    except (ValueError, TypeError) as error:
        return refuse(error, 2, arguments)

    def run() -> None:
        from varmixup_jax import report  # pandas is slow to import
        from varmixup_jax.report.closing_table import print_table

        compilation.configure()
        results = _of_logits(options) if options.logits else _of_model(options)
        print_table([results.as_run()])  # before writing: the disk may be full
        results.save(options.out)
        page = report.write([options.out], options.out)
        print(f"page: {page}")

    return exit_code(run, arguments)


def parser() -> Parser:
    """The flags: those of this command, and every setting of `evaluate`."""
    made = Parser(prog="varmixup evaluate", usage=USAGE, description=DESCRIPTION)
    made.add_argument("--model", metavar="MODULE:FUNCTION", help="the function of a batch")
    made.add_argument("--logits", metavar="FILE", type=user_path, help="a model's logits, as npz")
    made.add_argument(
        "--data", metavar="SOURCE", help="as `data.source`: digits, tfds:cifar10, ..."
    )
    made.add_argument("--data_dir", metavar="DIR", help="as `data.dir`")
    made.add_argument(
        "--validation",
        metavar="FILE",
        type=user_path,
        help="held-out images and labels that a temperature is fitted on: a file (`images`, `labels`) "
        "or class folders, as `varmixup corrupt make` reads them; with --logits a file like that",
    )
    made.add_argument(
        "--ood",
        metavar="NAME=FILE",
        action="append",
        default=[],
        help="images of another set, for OOD detection: a file or folders, or a source as in --data; "
        "with --logits a file like that; may be given several times",
    )
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
    """Keyword arguments whose defaults can be given as one word."""
    return {
        name: parameter.default
        for name, parameter in inspect.signature(function).parameters.items()
        if isinstance(parameter.default, (str, int, float, tuple))
    }


def _reader(default: Any) -> Callable[[str], Any]:
    if isinstance(default, bool):
        return _truth
    return _numbers if isinstance(default, tuple) else type(default)


def _truth(word: str) -> bool:
    checks.one_of(("true", "false"), value=word.lower())
    return word.lower() == "true"


def _numbers(words: str) -> tuple[float, ...]:
    try:
        return tuple(map(float, ast.literal_eval(words)))
    except SyntaxError as error:
        raise ValueError(words) from error


def _given(options: Any, function: Callable[..., Any]) -> dict[str, Any]:
    found = {name: getattr(options, name) for name in _settings(function)}
    return {name: value for name, value in found.items() if value is not None}


def _of_logits(options: Any) -> Results:
    found: dict[str, Any] = _given(options, evaluate_logits)
    if options.validation:
        held_out = logits_file.read(options.validation)
        if CLEAN not in held_out:
            raise ValueError(f"--validation = {options.validation}: has no array 'clean'")
        found["validation"] = held_out[CLEAN]
    others = {}
    for name, place in map(_named, options.ood):
        arrays = read_arrays(user_path(place))
        clean = arrays.get("clean", np.empty(0))
        if clean.ndim != 2 or clean.dtype.kind != "f":
            raise ValueError(f"--ood = {name}={place}: must have floating logits 'clean', [N, K]")
        others[name] = clean
    return evaluate_logits(options.logits, **found, ood=others)


def _of_model(options: Any) -> Results:
    model = _model(options.model)
    data = load(options.data, data_dir=options.data_dir, val_fraction=0.0, split_seed=0)
    settings = {"dataset": data.name, "name": options.model, **_given(options, evaluate)}
    swap = settings.get("layout") == "NCHW"

    def laid_out(images: np.ndarray) -> np.ndarray:
        images = images[..., None] if images.ndim == 3 else images
        return images.transpose(0, 3, 1, 2) if swap and images.ndim == 4 else images

    names = settings.get("corruptions", "")
    if "," in names:
        settings["corruptions"] = names.split(",")
    if options.validation:
        images, labels = _held_out(options.validation, data)
        settings["validation"] = laid_out(images), labels
    others = {}
    for name, place in map(_named, options.ood):
        file = user_path(place)
        others[name] = laid_out(
            read_images(file)
            if file.exists()
            else load(
                place,
                data_dir=options.data_dir,
                val_fraction=0.0,
                split_seed=0,
                resize=data.image_shape[0],
            ).test_images
        )
    return evaluate(model, laid_out(data.test_images), data.test_labels, ood=others, **settings)


def _held_out(place: Path, data: Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Images and labels of a validation set, with classes numbered as in the test set."""
    found = read_clean_set(place, None)
    if not found.classes:
        return found.images, found.labels
    ours = data.label_names
    if not set(found.classes) <= set(ours):
        there, here = (", ".join(names[:3]) for names in (found.classes, ours))
        text = f"has the classes {there}, ..., must be those of {data.name}: {here}, ..."
        raise ValueError(f"--validation = {place}: {text}")
    return found.images, np.array([ours.index(name) for name in found.classes])[found.labels]


def _named(word: str) -> tuple[str, str]:
    """Name and place of `NAME=PLACE`."""
    name, equals, place = word.partition("=")
    if not (name and equals and place):
        raise ValueError(f"--ood = {word!r}: must be NAME=FILE, as svhn=svhn.npz")
    return name, place


def _model(path: str) -> Callable[[Any], Any]:
    """The object that `MODULE:NAME` names; the module may be in the working directory.

    Raises:
      ValueError: there is no such module or name.
    """
    module, _, name = path.partition(":")
    if not name:
        raise ValueError(f"--model = {path!r}: must be MODULE:FUNCTION, as mine:logits")
    found: Any = imported(module, "--model")
    for part in name.split("."):
        if not hasattr(found, part):
            raise ValueError(f"--model = {path!r}: module {module} has no {part!r}")
        found = getattr(found, part)
    return found
