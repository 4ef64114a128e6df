"""Atomic files, written by temporary file, fsync and rename; strict JSON."""

from __future__ import annotations

import json
import math
import os
import tempfile
from collections.abc import Callable, Container, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

import numpy as np

from varmixup_jax.checks import one_line


def user_path(text: str) -> Path:
    """A path from the command line: shells do not expand the ~ of `--out=~/x`."""
    return Path(os.path.expanduser(text))


def obstacle(directory: Path) -> Path | None:
    """What prevents a directory from being created and written to; None if nothing does."""
    there = next(place for place in (directory, *directory.absolute().parents) if place.exists())
    return None if there.is_dir() and os.access(there, os.W_OK | os.X_OK) else there


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A file to write, which is renamed to `path` at the end of the block.

    A reader sees the old content or the new, never a part; the old file stays if anything fails; a
    new file is readable by everyone.

    Args:
      path: its directory is created if missing.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        # mkstemp's 0600 would make a shared run unreadable for others.
        os.chmod(name, path.stat().st_mode & 0o777 if path.exists() else 0o644)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def replace_bytes(path: Path, content: bytes) -> None:
    """Writes a whole file using `replacing`."""
    with replacing(path) as file:
        file.write(content)


def replace_text(path: Path, text: str) -> None:
    """The same for text; a lone surrogate, which JSON can contain but UTF-8 cannot, is escaped."""
    replace_bytes(path, text.encode("utf-8", "backslashreplace"))


def write_json(path: Path | str, value: Any) -> Path:
    """Writes `dumps(value)`, indented, using `replacing`; returns the path."""
    replace_text(Path(path), dumps(value, indent=2) + "\n")
    return Path(path)


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes a compressed npz file using `replacing`."""
    with replacing(path) as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]


def read_arrays(
    path: Path, wrong: str = "not a readable npz file", only: Container[str] | None = None
) -> dict[str, np.ndarray]:
    """Arrays of an npz file. Pickled objects in it are never read.

    Args:
      path: the file.
      wrong: what the error says about it.
      only: names of the arrays to read; None for all.

    Raises:
      ValueError: it is missing, damaged, not an npz file, or needs pickle; the array is named.
    """
    found, at = {}, ""
    try:
        # Opened here: np.load leaves a file open if it is not a complete archive.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            for name in arrays.files:
                if only is None or name in only:
                    at = f"array {name}: "
                    found[name] = np.asarray(arrays[name])
    except Exception as error:  # np.load documents no set of errors for damaged files
        text = "holds Python objects (images of mixed sizes?)"
        text = text if at and "allow_pickle" in str(error) else f"{wrong} ({one_line(error)})"
        raise ValueError(f"{path}: {at}{text}") from None
    return found


def dumps(value: Any, indent: int | None = None) -> str:
    """The JSON text of a value: a non-finite number becomes null, since JSON has no NaN.

    Args:
      value: nested dicts and sequences of strings, numbers, booleans and None; numpy scalars and
        arrays, paths, sets and tuples become the JSON types.
      indent: as in `json.dumps`.

    Raises:
      TypeError: a value has no JSON form; the message names its type.

    >>> dumps({"nll": float("nan"), "at": (1, Path("a"))})
    '{"nll": null, "at": [1, "a"]}'
    """
    return json.dumps(_plain(value), indent=indent, allow_nan=False)


def loads(text: str | bytes, parse_int: Callable[[str], Any] = int) -> Any:
    """The value of a JSON text, without NaN and Infinity, which Python would accept.

    Args:
      text: JSON.
      parse_int: reads the digits of a whole number.

    Raises:
      ValueError: it is not JSON.
    """
    return json.loads(text, parse_int=parse_int, parse_constant=_no_number)


def _no_number(word: str) -> NoReturn:
    raise ValueError(f"{word} is not JSON, must be a finite number or null")


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, (set, frozenset)):
        return sorted(_plain(item) for item in value)
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if hasattr(value, "tolist"):  # numpy scalars and arrays
        return _plain(value.tolist())
    raise TypeError(f"a value of type {type(value).__name__} has no JSON form")
