"""Training steps over parameters stored in one vector: fewer kernels on an accelerator.

A network has dozens of small parameters, and updating, averaging and taking the norm of each launches
kernels that take longer to launch than to run. Only the program sees the vector: states go in and
come out as trees, so checkpoints and sharding are unchanged.
"""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from varmixup_jax.training.step import Loss, Run, make_run, make_step
from varmixup_jax.types import Array, Key, PyTree, TrainState


class Layout:
    """The order of a tree's leaves in a vector, and within each leaf.

    Convolution kernels are stored output channel first, as GPUs read them: taking one out of the
    vector then copies nothing.

    Args:
      params: float32 leaves, or their shapes; more than one leaf.
    """

    def __init__(self, params: PyTree) -> None:
        self._tree: Any = jax.tree.structure(params)
        leaves = jax.tree.leaves(params)
        self._shapes = [leaf.shape for leaf in leaves]
        self._sizes = [math.prod(shape) for shape in self._shapes]

    def pack(self, params: PyTree) -> Array:
        """The tree as one vector."""
        leaves = [jnp.moveaxis(a, -1, 0) if a.ndim == 4 else a for a in jax.tree.leaves(params)]
        return jnp.concatenate([leaf.ravel() for leaf in leaves])

    def unpack(self, vector: Array) -> PyTree:
        """The tree of a vector."""
        leaves = []
        for part, shape in zip(lax.split(vector, self._sizes), self._shapes, strict=True):
            first = (*shape[-1:], *shape[:-1]) if len(shape) == 4 else shape
            leaf = part.reshape(first)
            leaves.append(jnp.moveaxis(leaf, 0, -1) if len(shape) == 4 else leaf)
        return jax.tree.unflatten(self._tree, leaves)

    def leaf_at(self, position: Array) -> Array:
        """The number of the leaf that holds a position of the vector."""
        return jnp.sum(position >= np.cumsum(self._sizes))

    def pack_all(self, tree: PyTree) -> PyTree:
        """Packs every part of `tree` that has the parameters' structure and shapes."""
        return self._each(self.pack, tree, tree)

    def unpack_all(self, packed: PyTree, like: PyTree) -> PyTree:
        """Undoes `pack_all`; `like` has the structure that was packed."""
        return self._each(lambda _, vector: self.unpack(vector), like, like, packed)

    def _each(self, change: Any, tree: PyTree, *trees: PyTree) -> PyTree:
        def fits(part: Any) -> bool:
            leaves = jax.tree.leaves(part)
            return (
                jax.tree.structure(part) == self._tree
                and [np.shape(leaf) for leaf in leaves] == self._shapes
            )

        def one(part: Any, *parts: Any) -> Any:
            return change(*parts) if fits(part) else parts[-1]

        return jax.tree.map(one, tree, *trees, is_leaf=fits)


def make_flat_run(
    loss: Loss,
    tx: optax.GradientTransformation,
    params: PyTree,
    *,
    ema_decay: float = 0.0,
    axis_name: str | None = None,
) -> Run:
    """`make_run(make_step(loss, tx, ...))` with parameters, optimiser and average in vectors.

    The same numbers except for rounding, if the optimiser treats all parameters alike, elementwise
    and by their global norm, as those of `training.optim` do.

    Args:
      loss, tx, ema_decay, axis_name: of `make_step`.
      params: the parameters or their shapes.
    """
    layout = Layout(params)

    def flat_loss(vector: Array, *rest: Any) -> Any:
        return loss(layout.unpack(vector), *rest)

    def first_bad(gradient: Array) -> Array:
        bad = ~jnp.isfinite(jnp.square(gradient))
        leaf = layout.leaf_at(jnp.argmax(bad))
        return jnp.where(jnp.any(bad), leaf, -1)

    step = make_step(flat_loss, tx, ema_decay=ema_decay, axis_name=axis_name, first_bad=first_bad)
    flat_run = make_run(step)

    def run(
        state: TrainState, fixed: PyTree, order: Array, count: Array | np.int32, key: Key
    ) -> Any:
        packed, metrics = flat_run(layout.pack_all(state), fixed, order, count, key)
        return layout.unpack_all(packed, state), metrics

    return run
