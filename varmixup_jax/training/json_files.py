"""JSON files that are always whole, and the JSON form of a value."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from varmixup_jax.atomic_files import replace_text


def write_json(path: Path | str, value: Any) -> Path:
    """Writes `value` as indented JSON so that a reader sees the old file or the new, never a part.

    The text goes to a temporary file in the same directory, is flushed to the disk (`fsync`), and
    takes the name by `os.replace`. Numpy scalars and arrays, paths, sets and tuples are written as
    the JSON types; a number that is not finite becomes null, since JSON has no NaN.

    Args:
      path: the file to write; its directory is made where it is missing.
      value: nested dicts and sequences of strings, numbers, booleans, None and the kinds above.

    Returns:
      `path` as a `Path`.

    Raises:
      TypeError: a value has no JSON form; the message names its type.
    """
    replace_text(Path(path), json.dumps(plain(value), indent=2, allow_nan=False) + "\n")
    return Path(path)


def plain(value: Any) -> Any:
    """`value` with every leaf in a form that JSON has."""
    if isinstance(value, Mapping):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, (set, frozenset)):
        return sorted(plain(item) for item in value)
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if hasattr(value, "tolist"):  # numpy scalars and arrays
        return plain(value.tolist())
    raise TypeError(f"a value of type {type(value).__name__} has no JSON form")
