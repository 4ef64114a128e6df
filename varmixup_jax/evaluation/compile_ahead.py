"""Compiles the transforms of an evaluation's views while it measures something else."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import jax
import jax.numpy as jnp
import numpy as np

from varmixup_jax.evaluation.tally import Put, filled
from varmixup_jax.evaluation.views import Transform, View, transformed

_compiled: set[tuple[Transform, tuple[tuple[int, ...], str]]] = set()
"""What earlier calls have compiled: later runs of a sweep need not compile it again."""


@contextmanager
def compiled_ahead(
    views: Iterable[View], images: np.ndarray, *, batch_size: int, put: Put = jnp.asarray
) -> Iterator[None]:
    """Calls each transform of `views` once in a thread, last first, while the block runs.

    The evaluation begins with other measures and takes the views in order, so the two meet halfway.
    On several devices nothing is done: programs launched by two threads may deadlock there.

    Args:
      views: of the evaluation. An iterator (over files, read one at a time) is left alone; of a
        list, the computed views are compiled.
      images: `[N, H, W, C]`, as they are evaluated.
      batch_size, put: those of the evaluation.
    """
    known = views if isinstance(views, list) else []
    transforms = dict.fromkeys(view.transform for view in known if view.transform is not None)
    if not transforms:
        yield
        return
    batch = put(filled(images[:batch_size], batch_size))
    key, ended, form = jax.random.key(0), threading.Event(), (batch.shape, batch.dtype.name)

    def work() -> None:
        for transform in reversed(transforms):
            if ended.is_set():
                return
            if (transform, form) in _compiled:
                continue
            try:
                transformed(key, batch, transform=transform, severity=np.int32(1))
            except Exception:  # the evaluation will hit the same error and report it
                return
            _compiled.add((transform, form))

    thread = threading.Thread(target=work, name="compile ahead", daemon=True)
    if len(batch.sharding.device_set) == 1:
        thread.start()
    try:
        yield
    finally:
        ended.set()
        if thread.ident is not None:
            thread.join()
