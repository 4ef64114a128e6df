"""Streaming over a test set in batches of one shape: the last is padded, and nothing is dropped.

Several processes divide the batches among themselves, and each gets all results.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from varmixup_jax import checks, cluster
from varmixup_jax.types import Array, Key, PyTree

LogitsFn = Callable[[PyTree, Array], Array]
"""`(variables, image [B, H, W, C] float32 in [0, 1]) -> logits [B, K]`, in evaluation mode.

Variables are an argument, so that one compilation serves every run of the same architecture. Keep
one function object per architecture: compilations are cached by function.
"""

Put = Callable[[np.ndarray], Array]
"""Places one host batch on the device(s) of this process, e.g. `Mapping.shard_batch`.

It may add rows at the end, so that all devices get equally many; their results are cut off.
"""

RESIDENT = 1 << 30
"""Largest test set, in bytes, that stays on the devices; a larger one is sent for every measure."""

GATHERED = 1 << 26
"""Bytes that a process contributes to one exchange of results: bounds the memory on the devices."""


class Resident:
    """A host array whose batches stay on the devices once they are there, if it fits `RESIDENT`.

    For the test set, from which 75 corruptions are computed, and images attacked at several radii.
    """

    def __init__(self, array: np.ndarray):
        self._array = array
        self._batches: dict[Any, Array] | None = {} if array.nbytes <= RESIDENT else None

    def __len__(self) -> int:
        return len(self._array)

    def batch(self, rows: slice, size: int, put: Put) -> Array:
        """Rows of the array on the devices, padded to `size`; sent only the first time."""
        if self._batches is None:
            return put(filled(self._array[rows], size))
        key = (rows.start, size)
        if key not in self._batches:
            self._batches[key] = put(filled(self._array[rows], size))
        return self._batches[key]


def to_pixels(images: Array) -> Array:
    """uint8 in 0..255 to float32 in [0, 1]; floating images are taken to be in [0, 1] already.

    Raises:
      TypeError: another integer dtype.

    >>> to_pixels(jnp.array([0, 255], jnp.uint8)).tolist()
    [0.0, 1.0]
    """
    if images.dtype == jnp.uint8:
        return images.astype(jnp.float32) / 255.0
    if not jnp.issubdtype(images.dtype, jnp.floating):
        raise TypeError(f"images: dtype is {images.dtype}, must be uint8 or floating in [0, 1]")
    return images.astype(jnp.float32)


def map_batches(
    fn: Callable[..., PyTree],
    arrays: Sequence[np.ndarray | Resident],
    *,
    batch_size: int,
    key: Key | None = None,
    put: Put = jnp.asarray,
    in_flight: int = 2,
) -> PyTree:
    """Applies a per-example function to a whole data set, batch by batch.

    The last batch is padded with copies of its last example, whose results are cut off, so every
    call has the same shapes and a jitted `fn` is compiled once.

    With P processes, process p takes batches p, p + P, ... on its own devices, and the results are
    exchanged. All must call this with the same arguments; the results are those of one process.

    Args:
      fn: `(*batch) -> results`, or `(key, *batch) -> results` if a key is given: a pytree of arrays
        with one row per example. Jit it.
      arrays: of equal length N >= 1 along axis 0; memory-mapped arrays are read batch by batch, the
        batches of a `Resident` are sent once. With a `Resident` always pass the same `put`.
      batch_size: rows per call, >= 1, not counting those that `put` adds.
      key: batch number i gets `fold_in(key, i)`.
      put: places a batch.
      in_flight: results that may be pending before the oldest is fetched, >= 1: bounds the memory
        on the device, and lets the host prepare the next batch meanwhile.

    Returns:
      The results of all N examples in order, as numpy arrays, on every process.

    Raises:
      ValueError: no example, different lengths, or a result that is not per example.
    """
    checks.whole(1, batch_size=batch_size, in_flight=in_flight)
    lengths = sorted({len(array) for array in arrays})
    if len(lengths) != 1 or lengths[0] == 0:
        raise ValueError(f"arrays: have lengths {lengths}, must all have the same length >= 1")
    (total,) = lengths
    batches = -(-total // batch_size)
    processes = cluster.process_count()
    pending: deque[PyTree] = deque()
    done: list[PyTree] = []
    for first in range(0, batches, processes):
        # With no batch left for this process, it repeats the last one: all need equally many.
        number = min(first + jax.process_index(), batches - 1)
        rows = slice(number * batch_size, (number + 1) * batch_size)
        batch = [
            array.batch(rows, batch_size, put)
            if isinstance(array, Resident)
            else put(filled(array[rows], batch_size))
            for array in arrays
        ]
        if key is not None:
            batch.insert(0, jax.random.fold_in(key, number))
        results = fn(*batch)
        size = len(batch[-1])
        for leaf in jax.tree.leaves(results):
            if leaf.shape[:1] != (size,):
                raise ValueError(f"fn: a result has shape {leaf.shape}, must be [{size}, ...]")
        pending.append(results)
        if len(pending) > in_flight:
            done.append(_fetched(pending.popleft(), batch_size))
    done.extend(_fetched(results, batch_size) for results in pending)
    if processes > 1:
        done = _exchanged(done)[:batches]
    return jax.tree.map(lambda *parts: np.concatenate(parts)[:total], *done)


def predict(
    logits_fn: LogitsFn,
    variables: PyTree,
    images: np.ndarray,
    *,
    batch_size: int,
    put: Put = jnp.asarray,
) -> np.ndarray:
    """Logits of a whole test set.

    Args:
      logits_fn: the classifier; compiled once per function and batch shape, not per `variables`.
      variables: its parameters and statistics (on all devices, if `put` shards the batch).
      images: uint8, or floating in [0, 1], `[N, H, W, C]`; converted on the device.
      batch_size: rows per call, >= 1.
      put: places a batch.

    Returns:
      float32 numpy `[N, K]`.

    Raises:
      TypeError: images of another dtype. ValueError: no image.
    """
    fn = partial(batch_logits, logits_fn, variables)
    return map_batches(fn, (images,), batch_size=batch_size, put=put)


def batch_logits(logits_fn: LogitsFn, variables: PyTree, images: Array) -> Array:
    """float32 logits of one batch of uint8 or floating images, jitted.

    The conversion is a separate program, so that the classifier is compiled once for clean images
    (uint8) and for those corrupted on the device (float32).
    """
    return _logits(logits_fn, variables, _pixels(images))


def host_logits(
    logits_fn: Callable[[PyTree, Any], Any], variables: PyTree, images: Array
) -> np.ndarray:
    """As `batch_logits`, for a function of host arrays that JAX cannot trace."""
    return np.asarray(logits_fn(variables, np.asarray(_pixels(images))), np.float32)


_pixels = jax.jit(to_pixels)


@partial(jax.jit, static_argnums=0)
def _logits(logits_fn: LogitsFn, variables: PyTree, image: Array) -> Array:
    return logits_fn(variables, image).astype(jnp.float32)


def _exchanged(done: list[PyTree]) -> list[PyTree]:
    """The results of all processes in the order of their batches, from those of this process."""
    size = sum(leaf.nbytes for leaf in jax.tree.leaves(done[0]))
    together = max(1, GATHERED // max(1, size))
    ordered = []
    for begin in range(0, len(done), together):
        mine = jax.tree.map(lambda *parts: np.stack(parts), *done[begin : begin + together])
        everyones = cluster.gathered(mine)  # [processes, batches, batch_size, ...]
        for batch in range(len(done[begin : begin + together])):
            for process in range(cluster.process_count()):
                ordered.append(jax.tree.map(lambda leaf, at=(process, batch): leaf[at], everyones))
    return ordered


def _fetched(results: PyTree, size: int) -> PyTree:
    """The first `size` rows of the results, on the host."""
    return jax.tree.map(lambda leaf: leaf[:size], jax.device_get(results))


def filled(rows: np.ndarray, size: int) -> np.ndarray:
    """`rows` followed by copies of the last one, `size` in all."""
    rows = np.asarray(rows)
    missing = size - len(rows)
    return rows if missing == 0 else np.concatenate([rows, np.repeat(rows[-1:], missing, axis=0)])
