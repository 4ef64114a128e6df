"""Classifiers written with Flax NNX, as the pure functions that vicinities and measures take."""

from __future__ import annotations

from collections.abc import Callable

from flax import nnx

from varmixup_jax.types import Array


def nnx_logits(model: nnx.Module, *, train: bool = False) -> Callable[[Array], Array]:
    """An NNX classifier as a pure function of the image, e.g. for `Env.logits` and `pgd`.

    An attack calls the model inside a JAX loop, where an NNX module must not change its variables:
    BatchNorm would update its running statistics. The module is split once and merged at each call,
    and changes made by a call are dropped. Parameters are those at the time of the split: call
    `nnx_logits` again after an update (inside `nnx.jit`, in each step).

    Args:
      model: called with an image `[B, H, W, C]`, returns logits `[B, K]`. It is not changed.
      train: False: evaluation mode (BatchNorm with running statistics, no dropout); True: training
        mode (BatchNorm with the batch's statistics; the running ones stay as they are).

    Returns:
      `image -> logits`.

    >>> import jax, jax.numpy as jnp
    >>> model = nnx.BatchNorm(2, rngs=nnx.Rngs(0))
    >>> image = jnp.arange(2.0).reshape(1, 1, 1, 2)
    >>> jax.jit(nnx_logits(model))(image).round(3).ravel().tolist()
    [0.0, 1.0]
    >>> nnx_logits(model, train=True)(image).ravel().tolist(), model.mean.get_value().tolist()
    ([0.0, 0.0], [0.0, 0.0])
    """
    graph, state = nnx.split(model)

    def logits(image: Array) -> Array:
        copy = nnx.merge(graph, state, copy=True)
        if train:
            copy.train()
        else:
            copy.eval()
        return copy(image)

    return logits
