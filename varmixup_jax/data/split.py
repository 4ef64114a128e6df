"""Selects the validation images, and a subset of the remaining training images for short runs."""

from __future__ import annotations

import math

import numpy as np

from varmixup_jax import checks


def stratified_split(
    labels: np.ndarray, fraction: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Splits rows in two, taking the same fraction of every class at random.

    Of a class with `n` rows, `max(1, floor(fraction * n + 1/2))` are held out; none if `fraction`
    is 0. The draw is numpy's PCG64, whose stream is the same on every platform, one permutation per
    class in the order of the classes.

    Args:
      labels: integers `[N]`.
      fraction: of each class to hold out, in [0, 1).
      seed: a whole number >= 0.

    Returns:
      `(kept, held_out)`: int64 row numbers, both ascending, disjoint, together `0..N-1`.

    Raises:
      ValueError: if `fraction` is outside [0, 1), `seed` is not a whole number >= 0, or a class
        would keep no row.

    Example:
      >>> kept, held_out = stratified_split(np.repeat([0, 1], 10), fraction=0.2, seed=0)
      >>> len(kept), len(held_out)
      (16, 4)
    """
    checks.in_range(0.0, 1.0, val_fraction=fraction)
    checks.whole(0, split_seed=seed)
    if fraction == 0:
        return np.arange(len(labels)), np.arange(0)
    generator = np.random.Generator(np.random.PCG64(seed))
    held_out = []
    for k in np.unique(labels):
        rows = np.flatnonzero(labels == k)
        count = max(1, math.floor(fraction * len(rows) + 0.5))
        if count >= len(rows):
            raise ValueError(
                f"val_fraction = {fraction}: leaves none of the {len(rows)} training image(s) of "
                f"class {k}, must leave 1 or more of every class"
            )
        held_out.append(generator.permutation(rows)[:count])
    validation = np.sort(np.concatenate(held_out))
    return np.setdiff1d(np.arange(len(labels)), validation, assume_unique=True), validation


def balanced_subset(labels: np.ndarray, limit: int) -> np.ndarray:
    """The first `limit` rows, taken in turn from the classes.

    First the first row of every class, then the second of every class, and so on, each round in row
    order: the class counts differ by at most 1 until a class has no row left, and a smaller
    `limit` gives a subset of a larger one. No randomness.

    Args:
      labels: integers `[N]`.
      limit: rows to keep; all of them if it exceeds N. At least the number of classes.

    Returns:
      int64 row numbers, ascending.

    Raises:
      ValueError: if `limit` is not a whole number, or smaller than the number of classes.

    Example:
      >>> balanced_subset(np.array([0, 0, 0, 1, 1, 2]), limit=4)
      array([0, 1, 3, 5])
    """
    classes, class_of_row = np.unique(labels, return_inverse=True)
    checks.whole(1, limit=limit)
    if limit < len(classes):
        raise ValueError(f"limit = {limit}: must be >= {len(classes)}, an image of each class")
    turn = np.empty(len(labels), np.int64)  # how many earlier rows have the same class
    for k in range(len(classes)):
        rows = np.flatnonzero(class_of_row == k)
        turn[rows] = np.arange(len(rows))
    return np.sort(np.argsort(turn, kind="stable")[:limit])
