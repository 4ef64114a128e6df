"""Reads a run's JSON files strictly; every error begins with file and line."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from varmixup_jax.atomic_files import loads
from varmixup_jax.checks import one_line, shown

DIGITS = 18  # of a whole number, so that it fits 64 bits

_EXPECTED = {
    int: "a whole number",
    float: "a number, and finite",
    str: "a string of printable characters",
    Mapping: "a JSON object",
}


def json_object(path: Path) -> Mapping[str, Any]:
    """The object that a JSON file holds.

    Raises:
      ValueError: the file is missing, not JSON or holds something else.
    """
    if not path.is_file():
        raise ValueError(f"{path}: missing, every run directory has one")
    return _object(_text(path), str(path), lines=True)


def json_lines(path: Path, *, required: bool, whole: bool) -> list[tuple[str, Mapping[str, Any]]]:
    """Each object of a file of JSON lines, with its file and line.

    Args:
      path: the file.
      required: whether it must be there.
      whole: whether its last line must be complete; if not, one without a newline is skipped.

    Raises:
      ValueError: naming the file and line that is missing or does not parse.
    """
    if not path.is_file():
        if required:
            raise ValueError(f"{path}: missing, every run that is done has one")
        return []
    objects = []
    lines = _text(path).splitlines(keepends=True)
    for number, line in enumerate(lines, start=1):
        if not whole and number == len(lines) and not line.endswith("\n"):
            break
        if line.strip():
            where = f"{path}:{number}"
            objects.append((where, _object(line, where)))
    return objects


def field(line: Mapping[str, Any], name: str, kind: type, where: Path | str) -> Any:
    """A field that must be there and of its kind: `int`, `float` (finite), `str` or `Mapping`.

    Raises:
      ValueError: naming `where`, the field, its value and what it must be.
    """
    if name not in line:
        raise ValueError(f"{where}: field {name!r} is missing")
    value = line[name]
    allowed = (int, float) if kind is float else kind
    good = isinstance(value, allowed) and not isinstance(value, bool)
    if good and kind is float:
        good = math.isfinite(value)
    if good and kind is str:
        good = value.isprintable() and value.strip() != ""
    if not good:
        raise ValueError(f"{where}: {name} = {shown(value)}: must be {_EXPECTED[kind]}")
    return value


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not UTF-8 ({one_line(error)})") from None


def _object(text: str, where: str, *, lines: bool = False) -> Mapping[str, Any]:
    try:
        value = loads(text, parse_int=_whole_number)
    except json.JSONDecodeError as error:
        at = f":{error.lineno}" if lines else ""
        raise ValueError(f"{where}{at}: not JSON ({error.msg})") from None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{where}: not JSON ({one_line(error)})") from None
    if not isinstance(value, dict):
        raise ValueError(f"{where}: holds a {type(value).__name__}, must be a JSON object")
    return value


def _whole_number(digits: str) -> int:
    if len(digits.lstrip("-")) > DIGITS:
        raise ValueError(f"a whole number of {len(digits.lstrip('-'))} digits")
    return int(digits)
