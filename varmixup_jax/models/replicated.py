"""Lets a hand-written gradient run inside `jax.shard_map`, which tracks replicated values."""

from __future__ import annotations

import jax.numpy as jnp
from jax import lax

from varmixup_jax.types import Array


def vary_like(value: Array, reference: Array) -> Array:
    """Returns `value`, of a type that varies over every mesh axis that `reference` varies over.

    Inside `shard_map` parameters are replicated and activations are not, and the gradient of a
    replicated value is summed over the devices. JAX inserts that sum for its own derivatives; a
    `custom_vjp` gets it when its arguments pass through here first. Elsewhere this is the identity,
    and the compiler removes it.

    Args:
      value: any array.
      reference: non-empty array of the same dtype; its values are not used, NaN included.

    >>> vary_like(jnp.arange(2.0), jnp.full((1, 1), jnp.nan))
    Array([0., 1.], dtype=float32)
    """
    # Without stop_gradient, zeros of the size of `reference` are built for the compiler to fold.
    return jnp.where(False, lax.stop_gradient(reference.ravel()[0]), value)
