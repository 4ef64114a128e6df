"""A step on two devices against the same step by hand: what is averaged, split, drawn and kept."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from varmixup_jax.training.parallel import distribute
from varmixup_jax.training.step import init_state, make_run, make_step

DEVICES, EXAMPLES, BATCH, STEPS, RATE = 2, 24, 8, 3, 0.1
RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(EXAMPLES, 3)), RNG.normal(size=EXAMPLES)
START = RNG.normal(size=3)
ORDER = RNG.permutation(EXAMPLES).reshape(STEPS, BATCH).astype(np.int32)
KEY = 5


def loss(params, stats, key, fixed, index):
    """Least squares; the statistic is the last batch's mean, and a metric is what was drawn."""
    x, y = fixed["x"][index], fixed["y"][index]
    metrics = {"drawn": jax.random.uniform(key)}
    return jnp.mean(jnp.square(x @ params - y)), (jnp.mean(x, axis=0), metrics)


def by_hand():
    """Parameters, statistics and losses after `STEPS` steps of the whole batch."""
    w, losses = START.copy(), []
    for rows in ORDER:
        error = X[rows] @ w - Y[rows]
        losses.append(np.mean(error**2))
        w -= RATE * 2 * X[rows].T @ error / BATCH
    return w, X[ORDER[-1]].mean(axis=0), losses


def draws(via):
    """What each step draws: its key from its number and, under pmap, the device's."""
    found = []
    for step in range(STEPS):
        key = jax.random.fold_in(jax.random.key(KEY), step)
        keys = [jax.random.fold_in(key, d) for d in range(DEVICES)] if via == "pmap" else [key]
        found.append([float(jax.random.uniform(k)) for k in keys])
    return np.array(found)


@pytest.mark.parametrize("via", ["jit", "pmap"])
def test_steps_by_hand(via):
    mapping = distribute(via, jax.devices()[:DEVICES])
    tx = optax.sgd(RATE)
    run = mapping.compile(make_run(make_step(loss, tx, axis_name=mapping.axis_name)))
    start = init_state(jnp.asarray(START, jnp.float32), jnp.zeros(3), tx)
    fixed = {"x": X.astype(np.float32), "y": Y.astype(np.float32)}
    order = mapping.shard_order(ORDER)
    key = jax.random.key(KEY)
    state, metrics = run(
        mapping.replicate(start), mapping.replicate(fixed), order, np.int32(STEPS), key
    )
    w, mean, losses = by_hand()
    np.testing.assert_allclose(mapping.collect(state).params, w, rtol=1e-5)
    np.testing.assert_allclose(mapping.collect(state).stats, mean, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(metrics["loss"], losses, rtol=1e-5)
    drawn = draws(via)
    assert len(set(drawn.ravel())) == drawn.size
    np.testing.assert_allclose(metrics["drawn"], drawn.mean(axis=1), rtol=1e-5)
    for leaf in jax.tree.leaves(state):  # all devices hold the same
        copies = [np.asarray(shard.data) for shard in leaf.addressable_shards]
        assert len(copies) == DEVICES
        np.testing.assert_array_equal(copies[0], copies[1])
    assert not any(leaf.is_deleted() for leaf in jax.tree.leaves(start))


@pytest.mark.parametrize("via", ["jit", "pmap"])
def test_each_device_has_its_part_of_every_batch(via):
    mapping = distribute(via, jax.devices()[:DEVICES])
    shards = mapping.shard_order(ORDER).addressable_shards
    assert len(shards) == DEVICES
    for number, shard in enumerate(sorted(shards, key=lambda shard: shard.device.id)):
        columns = ORDER[:, number * BATCH // DEVICES : (number + 1) * BATCH // DEVICES]
        np.testing.assert_array_equal(np.asarray(shard.data).reshape(columns.shape), columns)
