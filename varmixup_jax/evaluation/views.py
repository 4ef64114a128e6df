"""Corrupted versions of a test set: given, or computed from the clean images.

A computed view goes from the corruption to the classifier without leaving the device.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

import jax
import numpy as np

from varmixup_jax import checks
from varmixup_jax.corruptions import SEVERITIES
from varmixup_jax.data.corrupted_set import CorruptedSet
from varmixup_jax.evaluation.tally import to_pixels
from varmixup_jax.types import Array, Key

Transform = Callable[[Key, Array, Array], Array]
"""`(key, image [B, H, W, C] in [0, 1], severity int32 []) -> image`, jittable."""


class View(NamedTuple):
    """One corrupted version of the test set: computed from the clean images, or given.

    Attributes:
      corruption: its name in the result rows.
      severity: 1 to 5.
      transform: computes it; pass the *same object* for all severities, so that it is compiled
        once.
      images: or the corrupted images themselves, uint8 or floating in [0, 1] `[N, H, W, C]`.
      labels: of `images`, if they differ from those of the clean set.
    """

    corruption: str
    severity: int
    transform: Transform | None = None
    images: np.ndarray | None = None
    labels: np.ndarray | None = None


def computed_views(
    corrupt: Callable[[Key, str, Array, Array], Array],
    names: Iterable[str],
    severities: Sequence[int] = (1, 2, 3, 4, 5),
) -> list[View]:
    """Views that are computed on the device, one compilation per name.

    Args:
      corrupt: `(key, name, image, severity) -> image`, hashable. The same object gives the same
        transforms, so evaluating a second run compiles nothing.
      names: of the corruptions.
      severities: for each corruption.
    """
    return [View(name, level, _named(corrupt, name)) for name in names for level in severities]


def file_views(published: CorruptedSet, examples: int | None = None) -> Iterator[View]:
    """Views of a set of files, read one at a time: the whole set does not fit in memory.

    Args:
      published: the set.
      examples: images per condition, spread as those of the clean set are; None for all.
    """
    count = len(published.labels)
    kept = spread(count, examples)
    for name in published.names:
        for severity in SEVERITIES:
            images, labels = published.read(name, severity, 0, count)
            yield View(name, severity, images=images[kept], labels=labels[kept])


def spread(total: int, wanted: int | None) -> np.ndarray:
    """`wanted` indices spread evenly over `range(total)`, or all of them.

    Evenly, because test sets are often sorted by class.

    >>> spread(10, 4).tolist(), spread(2, None).tolist()
    ([0, 2, 5, 7], [0, 1])
    """
    if wanted is None or wanted >= total:
        return np.arange(total)
    checks.whole(1, images=wanted)
    return np.arange(wanted) * total // wanted


@partial(jax.jit, static_argnames="transform")
def transformed(key: Key, images: Array, *, transform: Transform, severity: Array) -> Array:
    """One batch of uint8 or floating images, transformed; compiled once per transform."""
    return transform(key, to_pixels(images), severity)


@functools.cache
def _named(corrupt: Callable[..., Array], name: str) -> Transform:
    return lambda key, image, severity: corrupt(key, name, image, severity)
