"""Batches that do not fit in device memory are measured in two halves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.errors import JaxRuntimeError

from varmixup_jax.evaluation.tally import Put
from varmixup_jax.types import PyTree

EXHAUSTED = "RESOURCE_EXHAUSTED"


class Halving:
    """Runs functions on a batch; once one has run out of memory, all run on two halves.

    One level only: if half a batch does not fit either, the error is raised.

    Args:
      put: places a host batch, as in `map_batches`.
      say: called once, with a one-line message.
    """

    def __init__(self, put: Put, say: Callable[[str], None]):
        self._put, self._say, self._halved = put, say, False

    def __call__(self, fn: Callable[..., PyTree]) -> Callable[..., PyTree]:
        """`fn` of a batch with one row per example; typed keys that come first are passed on."""
        proven = False

        def run(*arguments: Any) -> PyTree:
            nonlocal proven
            if not self._halved:
                try:
                    found = fn(*arguments)
                    if not proven:  # an accelerator may report it late; what fits once fits again
                        jax.block_until_ready(found)
                    proven = True
                    return found
                except JaxRuntimeError as error:
                    if EXHAUSTED not in str(error):
                        raise
                self._halved = True
                rows = len(_rows(arguments)[0])
                self._say(f"out of device memory with {rows} images at once, continuing with half")
            return self._in_halves(fn, arguments)

        return run

    def _in_halves(self, fn: Callable[..., PyTree], arguments: tuple[Any, ...]) -> PyTree:
        batch = [np.asarray(rows) for rows in _rows(arguments)]
        keys = arguments[: len(arguments) - len(batch)]
        middle = -(-len(batch[0]) // 2)
        parts = []
        for number, part in enumerate((slice(middle), slice(middle, None))):
            half = [rows[part] for rows in batch]
            if len(half[0]):
                own = [jax.random.fold_in(key, number) for key in keys]
                found = jax.device_get(fn(*own, *map(self._put, half)))
                size = len(half[0])
                parts.append(jax.tree.map(lambda leaf, size=size: leaf[:size], found))
        return jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)


def _rows(arguments: tuple[Any, ...]) -> list[Any]:
    return [one for one in arguments if not jax.dtypes.issubdtype(one.dtype, jax.dtypes.prng_key)]
