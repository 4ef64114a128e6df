"""How a program is spread over devices: the only code that knows.

`jit` (default): global arrays over a one-dimensional mesh, the batch sharded, all else replicated.
The program is the one a single device would run, so BatchNorm statistics and mixing partners are
global and 1 and 8 devices give the same numbers.

`pmap`: every device runs the program on its shard under a named axis, with BatchNorm statistics,
partners and randomness of its own; gradients are averaged. The classical multi-accelerator semantics.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from varmixup_jax import checks
from varmixup_jax.training.step import Run
from varmixup_jax.types import Array, PyTree

VIAS = ("jit", "pmap")
AXIS = "data"


class Mapping(NamedTuple):
    """A way of running on several devices.

    Attributes:
      via: "jit" or "pmap".
      devices: number of devices the batch is spread over.
      axis_name: what `make_step` must be told, None under jit.
      replicate: a tree of host or device arrays -> one copy on every device.
      collect: a replicated tree -> plain arrays (the inverse of `replicate`).
      shard_batch: a host batch `[B, ...]` for evaluation -> spread over the devices where the
        mapping is jit's and B is divisible, else on one device.
      shard_order: host int32 `[S, B]` -> placed so that each device holds its columns.
      compile: a `Run` -> the mapped program, its state donated.
    """

    via: str
    devices: int
    axis_name: str | None
    replicate: Callable[[PyTree], PyTree]
    collect: Callable[[PyTree], PyTree]
    shard_batch: Callable[[np.ndarray], Array]
    shard_order: Callable[[np.ndarray], Array]
    compile: Callable[[Run], Run]


def distribute(via: str = "jit", devices: Sequence[jax.Device] | None = None) -> Mapping:
    """A `Mapping` over the given devices (all by default).

    Raises:
      ValueError: `via` is neither "jit" nor "pmap".
    """
    checks.one_of(VIAS, via=via)
    devices = list(devices) if devices is not None else jax.devices()
    mesh = jax.make_mesh((len(devices),), (AXIS,), axis_types=(AxisType.Auto,), devices=devices)
    if via == "jit":
        return _by_jit(mesh)
    return _by_pmap(mesh, devices)


def check_batch(batch_size: int, devices: int) -> None:
    """Raises ValueError unless the batch can be split evenly over the devices."""
    checks.whole(1, batch_size=batch_size)
    if batch_size % devices:
        raise ValueError(f"batch_size = {batch_size}: must be divisible by the {devices} devices")


def _by_jit(mesh: jax.sharding.Mesh) -> Mapping:
    everywhere = NamedSharding(mesh, PartitionSpec())
    by_column = NamedSharding(mesh, PartitionSpec(None, AXIS))

    def replicate(tree: PyTree) -> PyTree:
        def one(leaf: Array) -> Array:
            placed = jax.device_put(leaf, everywhere)
            # A state is donated, and must not take the caller's buffer with it.
            return jnp.copy(placed) if isinstance(leaf, jax.Array) else placed

        return jax.tree.map(one, tree)

    def shard_batch(batch: np.ndarray) -> Array:
        if len(batch) % mesh.size:
            return jnp.asarray(batch)
        return jax.device_put(batch, NamedSharding(mesh, PartitionSpec(AXIS)))

    def compile_(run: Run) -> Run:
        return jax.jit(run, donate_argnums=0, out_shardings=everywhere)

    return Mapping(
        "jit",
        mesh.size,
        None,
        replicate,
        lambda tree: tree,
        shard_batch,
        partial(jax.device_put, device=by_column),
        compile_,
    )


def _by_pmap(mesh: jax.sharding.Mesh, devices: Sequence[jax.Device]) -> Mapping:
    stacked = NamedSharding(mesh, PartitionSpec(AXIS))
    n = len(devices)

    def replicate(tree: PyTree) -> PyTree:
        def one(leaf: Array) -> Array:
            leaf = jnp.asarray(leaf)
            return jax.device_put(jnp.broadcast_to(leaf[None], (n, *leaf.shape)), stacked)

        return jax.tree.map(one, tree)

    def shard_order(order: np.ndarray) -> Array:
        steps, batch = order.shape
        per_device = order.reshape(steps, n, batch // n).swapaxes(0, 1)
        return jax.device_put(np.ascontiguousarray(per_device), stacked)

    def compile_(run: Run) -> Run:
        mapped = jax.pmap(
            run,
            axis_name=AXIS,
            in_axes=(0, 0, 0, None, None),
            donate_argnums=0,
            devices=devices,
        )

        def call(state: PyTree, fixed: PyTree, order: Array, count: Array, key: Array):
            state, metrics = mapped(state, fixed, order, count, key)
            return state, jax.tree.map(lambda leaf: leaf[0], metrics)

        return call

    return Mapping(
        "pmap",
        n,
        AXIS,
        replicate,
        lambda tree: jax.tree.map(lambda leaf: leaf[0], tree),
        jnp.asarray,
        shard_order,
        compile_,
    )
