"""One training step, and many of them in one program, independent of how they are mapped."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax

from varmixup_jax import checks
from varmixup_jax.training.optim import ema_decay_at
from varmixup_jax.types import Array, Key, PyTree, TrainState

Metrics = dict[str, Array]
# (params, stats, key, fixed, index [B]) -> (loss, (stats, metrics))
Loss = Callable[[PyTree, PyTree, Key, PyTree, Array], tuple[Array, tuple[PyTree, Metrics]]]
Step = Callable[[TrainState, PyTree, Array, Key], tuple[TrainState, Metrics]]
# (state, fixed, order [S, B], count, key) -> (state, metrics [S])
Run = Callable[[TrainState, PyTree, Array, Array | np.int32, Key], tuple[TrainState, Metrics]]


def init_state(
    params: PyTree, stats: PyTree, tx: optax.GradientTransformation, *, ema_decay: float = 0.0
) -> TrainState:
    """The state before the first step. With `ema_decay > 0` the average starts at the parameters."""
    checks.in_range(0.0, 1.0, ema_decay=ema_decay)

    @jax.jit  # one program instead of one per leaf
    def fresh(params: PyTree, stats: PyTree) -> tuple[PyTree, PyTree]:
        ema = jax.tree.map(jnp.copy, (params, stats)) if ema_decay > 0 else ()
        return tx.init(params), ema

    return TrainState(jnp.zeros((), jnp.int32), params, stats, *fresh(params, stats))


def evaluated(state: TrainState) -> tuple[PyTree, PyTree]:
    """The `(params, stats)` to evaluate: the averaged ones if an average is kept."""
    return tuple(state.ema) if state.ema else (state.params, state.stats)


def make_step(
    loss: Loss,
    tx: optax.GradientTransformation,
    *,
    ema_decay: float = 0.0,
    axis_name: str | None = None,
    first_bad: Callable[[PyTree], Array] | None = None,
) -> Step:
    """`step(state, fixed, index, key) -> (state, metrics)`, pure.

    The key of a step is `fold_in(key, state.step)` (and the device's index under a named axis): the
    step number fixes the randomness, so a resumed run repeats the uninterrupted one.

    The loss is averaged over the axis *inside* the differentiated function and the gradients
    outside, which is right under jit, pmap and shard_map alike.

    Args:
      loss: see `Loss`. `fixed` is what is not trained (data set, frozen models), `index`, int32
        `[B]`, the examples of this batch.
      tx: the optimiser.
      ema_decay: decay of the average of parameters and statistics, 0 keeps none.
      axis_name: of the mapped axis, None when the mapping is the compiler's (jit) or absent.
      first_bad: gradients -> `bad_leaf`, if the leaves are not those of the parameters.

    Returns:
      The step. Its metrics are float32 scalars: `loss`, `grad_norm`, `bad_leaf` (the number of the
      first parameter leaf whose gradient is not finite, -1 for none) and what the loss reports.
    """

    def mean(tree: PyTree) -> PyTree:
        return tree if axis_name is None else jax.lax.pmean(tree, axis_name)

    def step(
        state: TrainState, fixed: PyTree, index: Array, key: Key
    ) -> tuple[TrainState, Metrics]:
        key = jax.random.fold_in(key, state.step)
        if axis_name is not None:
            key = jax.random.fold_in(key, jax.lax.axis_index(axis_name))

        def objective(params: PyTree) -> tuple[Array, tuple[PyTree, Metrics]]:
            value, aux = loss(params, state.stats, key, fixed, index)
            return mean(value), aux

        (value, (stats, metrics)), grads = jax.value_and_grad(objective, has_aux=True)(state.params)
        grads, stats, metrics = mean(grads), mean(stats), mean(metrics)
        updates, opt_state = tx.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        ema = state.ema
        if ema_decay > 0:
            blend = 1.0 - ema_decay_at(ema_decay, state.step)
            ema = optax.incremental_update((params, stats), ema, blend)
        squares = jnp.stack([jnp.sum(jnp.square(leaf)) for leaf in jax.tree.leaves(grads)])
        bad = ~jnp.isfinite(squares)
        number = first_bad(grads) if first_bad else jnp.where(jnp.any(bad), jnp.argmax(bad), -1)
        metrics = {
            "loss": value,
            "grad_norm": jnp.sqrt(jnp.sum(squares)),
            "bad_leaf": number.astype(jnp.float32),
            **metrics,
        }
        return TrainState(state.step + 1, params, stats, opt_state, ema), metrics

    return step


def make_run(step: Step) -> Run:
    """Up to S steps in one program: `run(state, fixed, order, count, key)`.

    A `fori_loop` over the first `count` rows of `order` int32 `[S, B]`. `count` is traced, so one
    compilation serves full chunks and the shorter ones before an evaluation. Metrics come back as
    float32 `[S]`; rows from `count` on are 0.
    """
    traced_once = jax.jit(step, inline=True)  # used for the metrics' shapes and in the loop

    def run(
        state: TrainState, fixed: PyTree, order: Array, count: Array | np.int32, key: Key
    ) -> tuple[TrainState, Metrics]:
        shapes = jax.eval_shape(traced_once, state, fixed, order[0], key)[1]
        zeros = jax.tree.map(lambda s: jnp.zeros((order.shape[0],), s.dtype), shapes)

        def body(i: Array, carry: tuple[TrainState, Metrics]) -> tuple[TrainState, Metrics]:
            state, seen = carry
            index = jax.lax.dynamic_index_in_dim(order, i, keepdims=False)
            state, metrics = traced_once(state, fixed, index, key)
            return state, jax.tree.map(lambda all_, one: all_.at[i].set(one), seen, metrics)

        return jax.lax.fori_loop(0, count, body, (state, zeros))

    return run
