"""Shared by the commands: recipes, words that change fields, modules that register custom methods."""

from __future__ import annotations

import argparse
import difflib
import importlib
import os
import re
import runpy
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

from absl import flags
from ml_collections import ConfigDict, config_flags

from varmixup_jax.config import check_fields
from varmixup_jax.fields import Config

RECIPES = Path(__file__).with_name("recipes")
FIELD = re.compile(r"--?(no)?config\.")  # begins a word that changes a field


class Parser(argparse.ArgumentParser):
    """Keeps the line breaks of its texts, and raises ValueError on errors."""

    def __init__(self, **settings: Any):
        formatter = argparse.RawDescriptionHelpFormatter
        super().__init__(allow_abbrev=False, formatter_class=formatter, **settings)

    def error(self, message: str) -> NoReturn:
        """Raises ValueError instead of printing and exiting."""
        raise ValueError(message)

    def add_recipe(self) -> None:
        """Adds `--config`, `--import` and `--workdir`."""
        self.add_modules()
        self.add_argument(
            "--config",
            metavar="RECIPE[:WORDS]",
            help=f"{', '.join(recipe_names())}, or the file of your own recipe; after the "
            "colon a method, several separated by commas, or all",
        )
        self.add_argument(
            "--workdir", metavar="DIR", help="directory of the runs (default: runs/DATA-METHODS)"
        )

    def add_modules(self) -> None:
        """Adds `--import`."""
        self.add_argument(
            "--import",
            action="append",
            default=[],
            dest="modules",
            metavar="MODULE",
            help="import this first: a module that registers your own methods; it may be in the "
            "working directory; may be given several times",
        )

    def parse(self, arguments: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
        """The options, and the remaining words, which change fields.

        Raises:
          ValueError: there is any other flag.
        """
        options, words = self.parse_known_args(arguments)
        known = [word for action in self._actions for word in action.option_strings]
        for word in words:
            if re.match(r"--?[A-Za-z]", word) and not FIELD.match(word):
                hint = _near(word.split("=")[0], known)
                raise ValueError(f"argument {word!r}: not understood{hint}")
        return options, words


def imported(name: str, flag: str = "--import") -> ModuleType:
    """A module, looked for in the working directory first, as `python -m` does.

    Raises:
      ValueError: it cannot be imported; the message begins with the flag that names it.
    """
    if os.getcwd() not in sys.path:  # not searched by a console script
        sys.path.insert(0, os.getcwd())
    try:
        return importlib.import_module(name)
    except Exception as error:  # a module can raise anything
        text = f"{type(error).__name__}: {error}"
        raise ValueError(f"{flag} = {name!r}: {text}") from error


def recipe_names() -> list[str]:
    """The recipes that come with the package."""
    return sorted(path.stem for path in RECIPES.glob("[!_]*.py"))


def located(recipe: str) -> Path:
    """The file of `FILE[:WORDS]`, or of `NAME[:WORDS]` if there is no such file."""
    name = recipe.partition(":")[0]
    packaged = RECIPES / f"{name}.py"
    return packaged if name in recipe_names() and not Path(name).is_file() else Path(name)


def default_workdir(config: ConfigDict | Config) -> str:
    """Default directory of the runs of a configuration."""
    data = config.data.source.replace(":", "-").replace("/", "-")
    return f"runs/{data}-{config.method.replace(',', '-')}"


def read_config(recipe: str | None, words: Sequence[str]) -> ConfigDict:
    """The configuration of a recipe, after the changes by `--config.FIELD=VALUE` words.

    Args:
      recipe: `FILE[:WORDS]` or `NAME[:WORDS]`.
      words: those that change fields.

    Raises:
      ValueError: there is no recipe, it returns no configuration, or a word does not change a field.
      Exception: raised by the recipe, or by absl for a value of the wrong type.
    """
    if not recipe:
        text = f"must be {', '.join(recipe_names())}, or the file of a recipe"
        raise ValueError(f"--config = {recipe!r}: {text}")
    return change_fields(run_recipe(recipe), words)


def change_fields(config: Any, words: Sequence[str]) -> ConfigDict:
    """The configuration after the changes by `--config.FIELD=VALUE` words, which keep types.

    Raises:
      ValueError: it is not a configuration, or a word does not change a field.
      Exception: raised by absl for a value of the wrong type.
    """
    check_fields(config)
    known = flags.FlagValues()
    command = ["varmixup", *words]
    config_flags.DEFINE_config_dict("config", config, flag_values=known, sys_argv=command)
    left = known(command)[1:]
    if left:
        raise ValueError(f"argument {left[0]!r}: not understood, flags begin with --")
    return config


def without_effect(words: Sequence[str], methods: Sequence[str]) -> list[str]:
    """The fields changed by words that belong to methods which are not run.

    >>> without_effect(["--config.methods.at.steps=5", "--config.epochs=1"], ["erm"])
    ['config.methods.at.steps']
    """
    names = [word.lstrip("-").split("=")[0] for word in words]
    settings = [name for name in names if name.startswith("config.methods.")]
    return [name for name in settings if name.split(".")[2] not in methods]


def run_recipe(recipe: str) -> Any:
    """The result of a recipe's `get_config`, called with WORDS if there are any."""
    _, colon, words = recipe.partition(":")
    file = located(recipe)
    if not file.is_file():
        known = recipe_names()
        text = f"no such file, must be a recipe's file or one of {', '.join(known)}"
        raise ValueError(f"--config = {str(file)!r}: {text}{_near(file.stem, known)}")
    names = runpy.run_path(str(file), run_name="recipe")
    if "get_config" not in names:
        raise ValueError(f"{file}: has no function get_config, must be a recipe")
    return names["get_config"](words) if colon else names["get_config"]()


def _near(word: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(word, known, n=2)
    return f" (did you mean {' or '.join(near)}?)" if near else ""
