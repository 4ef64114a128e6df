"""For the tests that change one field of a configuration and compare what comes of it."""

import jax
import numpy as np


def differing(one, other):
    """The names under which two dicts of trees hold different structures, values or arrays."""
    return {name for name in one if not _equal(one[name], other[name])}


def _equal(one, other):
    one, other = jax.tree.flatten(one), jax.tree.flatten(other)
    same = [np.array_equal(a, b) for a, b in zip(one[0], other[0], strict=False)]
    return one[1] == other[1] and all(same)
