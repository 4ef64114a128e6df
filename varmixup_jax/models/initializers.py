"""Normal initialisers whose random draws all run the same small program, whatever the shape."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax.typing import Initializer

from varmixup_jax import checks
from varmixup_jax.types import Array, Key

_BLOCK = 2**16


def scaled_normal(scale: float, mode: str) -> Initializer:
    """Returns an initialiser that draws w ~ N(0, scale / fan).

    XLA compiles a counter-based random draw anew for each shape, which takes about a second on a CPU
    for a 4-D one. Here a leaf is filled from as many blocks of one fixed length as it needs, block i
    drawn from `fold_in(key, i)`, so that a whole network compiles one draw.

    Args:
      scale: 2 for He initialisation (keeps the variance through a ReLU), 1 for LeCun's.
      mode: "fan_in", inputs of an output unit, keeps the variance of activations; "fan_out",
        outputs fed by an input unit, that of gradients. Kernels are `[..., inputs, outputs]`.

    Returns:
      `(key, shape, dtype) -> array`.

    Raises:
      ValueError: if a field is not as described, or the shape has fewer than two axes.

    References:
      He et al. 2015, "Delving Deep into Rectifiers", equations 10 and 14.

    >>> scaled_normal(2.0, "fan_in")(jax.random.key(0), (3, 3, 16, 32)).shape
    (3, 3, 16, 32)
    """
    checks.positive(scale=scale)
    checks.one_of(("fan_in", "fan_out"), mode=mode)

    def draw(key: Key, shape: Sequence[int], dtype: str = "float32", out_sharding=None) -> Array:
        del out_sharding
        if len(shape) < 2:
            raise ValueError(f"shape = {tuple(shape)!r}: must have an input and an output axis")
        fan = math.prod(shape[:-1]) if mode == "fan_in" else math.prod(shape[:-2]) * shape[-1]
        blocks = [_block(key, i) for i in range(math.ceil(math.prod(shape) / _BLOCK))]
        return _assemble(blocks, math.sqrt(scale / fan), tuple(shape)).astype(dtype)

    return draw


@jax.jit
def _block(key: Key, index: int) -> Array:
    return jax.random.normal(jax.random.fold_in(key, index), (_BLOCK,), jnp.float32)


@functools.partial(jax.jit, static_argnames="shape")
def _assemble(blocks: list[Array], deviation: float, shape: tuple[int, ...]) -> Array:
    return deviation * jnp.concatenate(blocks)[: math.prod(shape)].reshape(shape)
