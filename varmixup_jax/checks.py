"""Refusals: every message names the field, the value it has and what is allowed."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable
from typing import Any

import numpy as np


def positive(**fields: float) -> None:
    """Raises ValueError unless every keyword's value is a finite number > 0."""
    for name, value in fields.items():
        if not _is_number(value) or value <= 0:
            raise ValueError(f"{name} = {value!r}: must be > 0")


def non_negative(**fields: float) -> None:
    """Raises ValueError unless every keyword's value is a finite number >= 0."""
    for name, value in fields.items():
        if not _is_number(value) or value < 0:
            raise ValueError(f"{name} = {value!r}: must be >= 0")


def in_range(low: float, high: float, **fields: float) -> None:
    """Raises ValueError unless every keyword's value lies in [low, high]."""
    for name, value in fields.items():
        if not _is_number(value) or not low <= value <= high:
            raise ValueError(f"{name} = {value!r}: must lie in [{low}, {high}]")


def whole(minimum: int, **fields: int) -> None:
    """Raises ValueError unless every keyword's value is an integer >= minimum."""
    for name, value in fields.items():
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < minimum:
            raise ValueError(f"{name} = {value!r}: must be a whole number >= {minimum}")


def one_of(allowed: Iterable[Any], **fields: Any) -> None:
    """Raises ValueError, with the nearest names, unless every value is one of `allowed`."""
    allowed = list(allowed)
    for name, value in fields.items():
        if value in allowed:
            continue
        near = difflib.get_close_matches(str(value), [str(a) for a in allowed], n=2, cutoff=0.5)
        hint = f" (did you mean {' or '.join(near)}?)" if near else ""
        choices = ", ".join(str(a) for a in allowed)
        raise ValueError(f"{name} = {value!r}: must be one of {choices}{hint}")


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


def float_image(**fields: Any) -> None:
    """Raises TypeError/ValueError unless every value is a floating `[B, H, W, C]` array.

    Reads shape and dtype only, so it works on traced arrays too.
    """
    for name, value in fields.items():
        dtype = np.dtype(value.dtype)
        if dtype.kind in "iub":
            raise TypeError(f"{name}: dtype is {dtype}, must be floating with pixels in [0, 1]")
        if value.ndim != 4:
            raise ValueError(f"{name}: has shape {tuple(value.shape)}, must be [B, H, W, C]")


def _is_number(value: Any) -> bool:
    if isinstance(value, bool):
        return False
    try:
        return math.isfinite(value)
    except TypeError:
        return False
