"""How a program is spread over devices; no other code knows.

`jit` (default): global arrays over a one-dimensional mesh, the batch sharded, all else replicated.
The program is the one a single device would run, so BatchNorm statistics and mixing partners are
global and 1 and 8 devices give the same numbers.

`pmap`: every device runs the program on its shard under a named axis, with its own BatchNorm
statistics, partners and randomness; gradients are averaged. The classical data-parallel semantics.

With several processes the mapping is over the devices of all of them. The data are on the host of
every process, which places its own part, so only gradients are communicated; results (`collect`,
metrics) are complete on every process, on its own devices.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from varmixup_jax import checks
from varmixup_jax.training.step import Metrics, Run
from varmixup_jax.types import Array, Key, PyTree, TrainState

VIAS = ("jit", "pmap")
AXIS = "data"


class Mapping(NamedTuple):
    """A way of running on several devices.

    Attributes:
      via: "jit" or "pmap".
      devices: number of devices the batch is spread over, those of all processes.
      axis_name: what `make_step` must be told, None under jit.
      replicate: a tree of host or device arrays, the same on every process -> one copy on every
        device.
      collect: a replicated tree -> plain arrays of this process (the inverse of `replicate`).
      shard_batch: a host batch `[B, ...]` for evaluation -> spread over the devices of this process,
        padded with copies of its last row if B is not divisible by their number.
      shard_order: host int32 `[S, B]`, the same on every process -> placed so that each device holds
        its columns.
      compile: a `Run` -> the mapped program, with its state donated; every process can read its
        metrics.
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
    """A `Mapping` over the given devices (by default all, of all processes).

    Raises:
      ValueError: `via` is neither "jit" nor "pmap", or the processes have unequal numbers of the
        devices.
    """
    checks.one_of(VIAS, via=via)
    devices = list(devices) if devices is not None else jax.devices()
    counts = Counter(device.process_index for device in devices)
    if jax.process_count() > 1 and (
        len(counts) < jax.process_count() or len(set(counts.values())) > 1
    ):
        each = ", ".join(str(counts[process]) for process in range(jax.process_count()))
        text = f"must be equally many of every process (there are {each})"
        raise ValueError(f"devices = {len(devices)}: {text}")
    mesh = jax.make_mesh((len(devices),), (AXIS,), axis_types=(AxisType.Auto,), devices=devices)
    if via == "jit":
        return _by_jit(mesh)
    return _by_pmap(devices)


def _by_jit(mesh: Mesh) -> Mapping:
    everywhere = NamedSharding(mesh, PartitionSpec())
    by_column = NamedSharding(mesh, PartitionSpec(None, AXIS))
    here = mesh.local_mesh

    def replicate(tree: PyTree) -> PyTree:
        def one(leaf: Array) -> Array:
            copies = placed(leaf, everywhere)
            # The state is donated, which must not invalidate the caller's buffer.
            return jnp.copy(copies) if isinstance(leaf, jax.Array) else copies

        return jax.tree.map(one, tree)

    def collect(tree: PyTree) -> PyTree:
        def one(leaf: Array) -> Array:
            if leaf.is_fully_addressable:
                return leaf
            copies = [shard.data for shard in leaf.addressable_shards]
            sharding = NamedSharding(here, PartitionSpec())
            return jax.make_array_from_single_device_arrays(leaf.shape, sharding, copies)

        return jax.tree.map(one, tree)

    def compile_(run: Run) -> Run:
        return jax.jit(run, donate_argnums=0, out_shardings=everywhere)

    return Mapping(
        "jit",
        mesh.size,
        None,
        replicate,
        collect,
        partial(_spread, here),
        partial(placed, sharding=by_column),
        compile_,
    )


def _by_pmap(devices: Sequence[jax.Device]) -> Mapping:
    # Each process holds the rows of its own devices, as pmap wants them.
    devices = sorted(devices, key=lambda device: device.process_index)
    mine = [i for i, one in enumerate(devices) if one.process_index == jax.process_index()]
    mesh = Mesh(np.array([devices[i] for i in mine]), (AXIS,))
    stacked = NamedSharding(mesh, PartitionSpec(AXIS))
    # `leaf[0]` would be an all-reduce, though every device has its own copy.
    first = jax.jit(
        jax.shard_map(
            lambda tree: jax.tree.map(lambda leaf: leaf[0], tree),
            mesh=mesh,
            in_specs=PartitionSpec(AXIS),
            out_specs=PartitionSpec(),
            check_vma=False,
        )
    )

    def replicate(tree: PyTree) -> PyTree:
        def one(leaf: Array) -> Array:
            leaf = jnp.asarray(leaf)
            return jax.device_put(jnp.broadcast_to(leaf[None], (len(mine), *leaf.shape)), stacked)

        return jax.tree.map(one, tree)

    def shard_order(order: np.ndarray) -> Array:
        steps, batch = order.shape
        per_device = order.reshape(steps, len(devices), batch // len(devices)).swapaxes(0, 1)
        return jax.device_put(np.ascontiguousarray(per_device[mine]), stacked)

    def compile_(run: Run) -> Run:
        mapped = jax.pmap(
            run,
            axis_name=AXIS,
            in_axes=(0, 0, 0, None, None),
            donate_argnums=0,
            devices=devices,
        )

        def call(
            state: TrainState, fixed: PyTree, order: Array, count: Array | np.int32, key: Key
        ) -> tuple[TrainState, Metrics]:
            state, metrics = mapped(state, fixed, order, count, key)
            return state, first(metrics)

        return call

    return Mapping(
        "pmap",
        len(devices),
        AXIS,
        replicate,
        first,
        partial(_spread, mesh),
        shard_order,
        compile_,
    )


def _spread(mesh: Mesh, batch: np.ndarray) -> Array:
    if missing := -len(batch) % mesh.size:
        batch = np.concatenate([batch, np.repeat(batch[-1:], missing, axis=0)])
    return jax.device_put(batch, NamedSharding(mesh, PartitionSpec(AXIS)))


def placed(value: Array | np.ndarray, sharding: NamedSharding) -> Array:
    """A host or local array that all processes have, laid out over all devices without transfer."""
    if sharding.is_fully_addressable:
        return jax.device_put(value, sharding)
    host = np.asarray(value)
    return jax.make_array_from_callback(host.shape, sharding, lambda index: host[index])
