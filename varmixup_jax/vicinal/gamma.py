"""Gamma variables, from which Beta and Dirichlet variables are made."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from varmixup_jax.types import Array, Key

_MOST_ADDED = 16


def log_gamma(key: Key, alpha: float, shape: tuple[int, ...]) -> Array:
    """Logarithms of independent Gamma(alpha) variables g.

    g_1 / (g_1 + g_2) is Beta(alpha_1, alpha_2), g_k / sum g is Dirichlet: `sigmoid` of a difference
    and `softmax` of these logarithms.

    For a whole alpha up to 16, g is the sum of alpha exponential variables. JAX draws the others by
    rejection, a loop of unknown length, which an accelerator does not fuse with surrounding code.

    Args:
      key: the randomness.
      alpha: > 0.
      shape: of the result.

    Returns:
      float32.
    """
    if alpha in range(1, _MOST_ADDED + 1):
        added = jax.random.exponential(key, (int(alpha), *shape), jnp.float32)
        return jnp.log(jnp.sum(added, axis=0))
    return jax.random.loggamma(key, alpha, shape, jnp.float32)
