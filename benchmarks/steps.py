"""Any number of training steps, in one program or in one program each."""

from __future__ import annotations

from collections.abc import Callable

import jax
import numpy as np

from benchmarks import cases
from varmixup_jax.training.step import make_run


class Training:
    """Any number of steps of one method, or of "vae", in one program or one by one.

    `make_run` takes the number of steps as an argument, so one compilation serves all of them.
    """

    def __init__(self, case: cases.Case, method: str, batch: int, most: int) -> None:
        self.batch = batch
        vae = method == "vae"
        step, state, fixed = cases.vae_step_parts(case) if vae else cases.step_parts(case, method)
        self._step = jax.jit(step, donate_argnums=0)
        self._run = jax.jit(make_run(step), donate_argnums=0)
        self._held, self._fixed = [state], jax.device_put(fixed)
        self._order = jax.device_put(cases.batches(case, batch, most))
        self._key = jax.random.key(0)

    def looped(self, steps: int, calls: int = 1) -> Callable[[], None]:
        """`calls` programs of `steps` steps, dispatched without waiting in between."""

        def call() -> None:
            for _ in range(calls):
                self._held[0], seen = self._run(
                    self._held[0], self._fixed, self._order, np.int32(steps), self._key
                )
            jax.block_until_ready((self._held[0], seen))

        return call

    def dispatched(self, steps: int) -> Callable[[], None]:
        """`steps` separate programs of one step, dispatched without waiting in between."""

        def call() -> None:
            for i in range(steps):
                self._held[0], seen = self._step(
                    self._held[0], self._fixed, self._order[i], self._key
                )
            jax.block_until_ready((self._held[0], seen))

        return call
