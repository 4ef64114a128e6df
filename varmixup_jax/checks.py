"""Checks of values: every message names the field, its value and what is allowed."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, SupportsFloat, TypeGuard

import numpy as np

INT_MAX = 2**31 - 1  # the largest int32
FLOAT_MAX = float(np.finfo(np.float32).max)
SHOWN = 200  # characters of a value that a message quotes


def positive(**fields: SupportsFloat) -> None:
    """Raises ValueError unless every keyword's value is a finite number > 0."""
    for name, value in fields.items():
        if not _is_number(value) or value <= 0:
            raise ValueError(f"{name} = {shown(value)}: must be > 0")


def non_negative(**fields: SupportsFloat) -> None:
    """Raises ValueError unless every keyword's value is a finite number >= 0."""
    for name, value in fields.items():
        if not _is_number(value) or value < 0:
            raise ValueError(f"{name} = {shown(value)}: must be >= 0")


def in_range(low: float, high: float, **fields: SupportsFloat) -> None:
    """Raises ValueError unless every keyword's value lies in [low, high]."""
    for name, value in fields.items():
        if not _is_number(value) or not low <= value <= high:
            raise ValueError(f"{name} = {shown(value)}: must lie in [{low}, {high}]")


def whole(minimum: int, **fields: int) -> None:
    """Raises ValueError unless every keyword's value is an integer >= minimum."""
    for name, value in fields.items():
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < minimum:
            raise ValueError(f"{name} = {shown(value)}: must be a whole number >= {minimum}")


def increasing_fractions(**fields: Sequence[float]) -> None:
    """Raises ValueError unless every value's entries lie in (0, 1) and increase."""
    for name, values in fields.items():
        if any(not 0 < v < 1 for v in values) or list(values) != sorted(set(values)):
            raise ValueError(f"{name} = {values}: must be increasing fractions in (0, 1)")


def printable(**fields: str) -> None:
    """Raises ValueError unless every value is one line of text that is not blank."""
    for name, value in fields.items():
        if not isinstance(value, str) or not value.isprintable() or not value.strip():
            raise ValueError(f"{name} = {shown(value)}: must be printable text")


def one_of(allowed: Iterable[Any], **fields: Any) -> None:
    """Raises ValueError, with the nearest names, unless every value is one of `allowed`."""
    allowed = list(allowed)
    for name, value in fields.items():
        if value in allowed:
            continue
        near = difflib.get_close_matches(str(value), [str(a) for a in allowed], n=2, cutoff=0.5)
        hint = f" (did you mean {' or '.join(near)}?)" if near else ""
        choices = ", ".join(str(a) for a in allowed)
        raise ValueError(f"{name} = {shown(value)}: must be one of {choices}{hint}")


def probability_rows(tolerance: float = 1e-4, **fields: Any) -> None:
    """Raises ValueError unless every value is `[B, K]` with non-negative rows that sum to 1.

    For concrete (host) arrays: it reads values, so it does not work on traced ones.
    """
    for name, value in fields.items():
        rows = np.asarray(value)
        if rows.ndim != 2:
            raise ValueError(f"{name}: has shape {rows.shape}, must be [batch, classes]")
        if not np.all(rows >= 0):
            raise ValueError(f"{name}: smallest entry is {rows.min()}, must be >= 0")
        worst = float(np.max(np.abs(rows.sum(axis=1) - 1.0), initial=0.0))
        if not worst <= tolerance:
            raise ValueError(f"{name}: a row's sum is off by {worst:.3g}, rows must sum to 1")


def floating(what: str, **fields: Any) -> None:
    """Raises TypeError unless every value is a floating array; `what` says what it holds.

    >>> floating("pixels in [0, 1]", image=np.zeros(2, np.uint8))
    Traceback (most recent call last):
    ...
    TypeError: image: dtype is uint8, must be floating with pixels in [0, 1]
    """
    for name, value in fields.items():
        dtype = getattr(value, "dtype", None)
        if dtype is None:
            raise TypeError(f"{name} = {shown(value)}: must be an array with {what}")
        if np.dtype(dtype).kind in "iub":
            raise TypeError(f"{name}: dtype is {np.dtype(dtype)}, must be floating with {what}")


def labels(image: Any, label: Any) -> None:
    """Raises TypeError/ValueError unless labels are `[B, K]` floating, in [0, 1], one row per image.

    For traced arrays only shape and dtype are checked.
    """
    what = "rows that sum to 1, as jax.nn.one_hot gives"
    floating(what, label=label)
    if label.ndim != 2 or label.shape[0] != image.shape[0]:
        shape = f"has shape {tuple(label.shape)}, must be [{image.shape[0]}, classes]"
        raise ValueError(f"label: {shape}, {what}")
    values_within(0, 1, label=label)


def values_within(low: float, high: float, remedy: str = "", **fields: Any) -> None:
    """Raises ValueError if a value of an array lies outside [low, high], by more than half an 8-bit
    grey level.

    Traced arrays, whose values are not known, and NaN pass.

    >>> values_within(0, 1, confidence=np.array([87.0, 95.5]))
    Traceback (most recent call last):
    ...
    ValueError: confidence: has values from 87 to 95.5, must lie in [0, 1]
    """
    slack = (high - low) / 510
    for name, value in fields.items():
        if not value.size:
            continue
        try:
            least, most = float(value.min()), float(value.max())
        except (TypeError, RuntimeError):  # traced, or sharded over several processes
            continue
        if least < low - slack or most > high + slack:
            text = f"has values from {least:.6g} to {most:.6g}, must lie in [{low:g}, {high:g}]"
            raise ValueError(f"{name}: {text}{remedy}")


NORMALISED = "; the model does what normalisation it needs itself"


def pixels(bounds: tuple[float, float] | None = (0.0, 1.0), **fields: Any) -> None:
    """Raises TypeError/ValueError unless every value is a floating `[B, H, W, C]` within `bounds`.

    For traced arrays only shape and dtype are checked.
    """
    float_image(**fields)
    if bounds is not None:
        values_within(*bounds, NORMALISED, **fields)


def float_image(**fields: Any) -> None:
    """Raises TypeError/ValueError unless every value is a floating `[B, H, W, C]` array.

    Reads shape and dtype only, so it works on traced arrays too.
    """
    floating("pixels in [0, 1]", **fields)
    for name, value in fields.items():
        if value.ndim != 4:
            raise ValueError(f"{name}: has shape {tuple(value.shape)}, must be [B, H, W, C]")


def like(template: Mapping[str, Any], name: str, value: Any) -> None:
    """Raises ValueError unless `value` has the fields of `template`, with the same types.

    An integer passes for a float, a list for a tuple; a tuple's entries must have the type of the
    template's first one, or be strings if it has none. Numbers are finite and fit 32 bits, strings
    are printable.

    Args:
      template: nested mappings of defaults.
      name: what messages call `value`.
      value: nested mappings to check.

    >>> like({"steps": 10, "eps": (0.1,)}, "config", {"steps": 5, "eps": [1, 0.5]})
    >>> like({"steps": 10}, "config", {"steps": None})
    Traceback (most recent call last):
    ...
    ValueError: config.steps = None: must be a whole number that fits 32 bits
    """
    if not isinstance(value, Mapping):
        fields = ", ".join(map(str, template))
        raise ValueError(f"{name} = {shown(value)}: must be a section with the fields {fields}")
    for field in (f for f in value if f not in template):
        one_of(template, **{f"field of {name}": field})
    for field, default in template.items():
        if field not in value:
            raise ValueError(f"{name}.{field}: is missing, must be there")
        if isinstance(default, Mapping):
            like(default, f"{name}.{field}", value[field])
        elif isinstance(default, tuple):
            if not isinstance(value[field], (tuple, list)):
                text = "must be a tuple"
                raise ValueError(f"{name}.{field} = {shown(value[field])}: {text}")
            for entry in value[field]:
                _same_kind(default[0] if default else "", f"{name}.{field}", entry)
        else:
            _same_kind(default, f"{name}.{field}", value[field])


def shown(value: Any) -> str:
    """A value as a message quotes it: one line of at most about `SHOWN` characters.

    >>> shown([1, 2]), len(shown("x" * 1000))
    ('[1, 2]', 203)
    """
    try:
        text = " ".join(repr(value).split())
    except ValueError:  # Python does not convert integers of thousands of digits
        text = f"a {type(value).__name__} too large to print"
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."


def one_line(error: BaseException) -> str:
    """The message of an error in one line, or its type if it has no message.

    >>> one_line(OSError("no such\\n  file")), one_line(EOFError())
    ('no such file', 'EOFError')
    """
    return " ".join(str(error).split()) or type(error).__name__


def reason(error: BaseException) -> str:
    """`one_line`, cut to `SHOWN` characters: for errors raised by third-party parsers."""
    return one_line(error)[:SHOWN]


def _same_kind(default: Any, name: str, value: Any) -> None:
    if isinstance(default, bool):
        good, text = isinstance(value, bool), "True or False"
    elif isinstance(default, int):
        good = isinstance(value, int) and not isinstance(value, bool) and abs(value) <= INT_MAX
        text = "a whole number that fits 32 bits"
    elif isinstance(default, float):
        good = isinstance(value, (int, float)) and _is_number(value) and abs(value) <= FLOAT_MAX
        text = "a finite number that fits 32 bits"
    else:
        good, text = isinstance(value, str) and value.isprintable(), "printable text"
    if not good:
        raise ValueError(f"{name} = {shown(value)}: must be {text}")


def _is_number(value: Any) -> TypeGuard[float]:  # or a scalar array, which compares as one
    if isinstance(value, bool):
        return False
    try:
        return math.isfinite(value)
    except (TypeError, OverflowError):  # the latter: an integer too large for a float
        return False
