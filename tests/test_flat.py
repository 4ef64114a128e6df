"""Parameters in one vector: the numbers of a tree, and the tree again."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from varmixup_jax.training.flat import Layout, make_flat_run
from varmixup_jax.training.optim import make_optimizer, make_schedule
from varmixup_jax.training.step import init_state, make_run, make_step

RNG = np.random.default_rng(0)
PARAMS = {
    "bias": RNG.normal(size=3).astype(np.float32),
    "conv": {"kernel": RNG.normal(size=(2, 1, 5, 3)).astype(np.float32)},
    "dense": RNG.normal(size=(3, 4)).astype(np.float32),
    "scalar": np.float32(1.5),
}
X = RNG.normal(size=(6, 2, 5)).astype(np.float32)


@pytest.fixture(autouse=True)
def as_optax_has_it():
    """It divides floats by whole numbers."""
    with jax.numpy_dtype_promotion("standard"):
        yield


def loss(params, stats, key, fixed, index):
    """Every parameter, its place and the randomness matter."""
    hidden = jnp.einsum("bhc,hwco->bo", fixed["x"][index], params["conv"]["kernel"])
    out = jnp.tanh(hidden + params["bias"][None]) @ params["dense"]
    value = jnp.mean(jnp.square(out * params["scalar"] - jax.random.normal(key, out.shape)))
    return value, ({"mean": 0.9 * stats["mean"] + hidden.mean()}, {"accuracy": out.mean()})


def state_of(tx, params=PARAMS):
    return init_state(params, {"mean": jnp.zeros(())}, tx, ema_decay=0.5)


def order(steps):
    return np.arange(3 * steps, dtype=np.int32).reshape(steps, 3) % len(X)


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_the_same_numbers_and_the_same_tree(name, key):
    schedule = make_schedule("cosine", learning_rate=0.1, total_steps=4)
    tx = make_optimizer(name, schedule, weight_decay=0.1, clip_norm=0.5)
    runs = (
        make_run(make_step(loss, tx, ema_decay=0.5)),
        make_flat_run(loss, tx, PARAMS, ema_decay=0.5),
    )
    arguments = ({"x": X}, order(4), np.int32(3), jax.random.clone(key))
    trees = [jax.jit(run)(state_of(tx), *arguments) for run in runs]
    assert jax.tree.structure(trees[0]) == jax.tree.structure(trees[1])
    for a, b in zip(*map(jax.tree.leaves, trees), strict=True):
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    moved = jax.tree.map(lambda a, b: np.abs(a - b).min(), trees[1][0].params, PARAMS)
    assert min(jax.tree.leaves(moved)) > 1e-4


@pytest.mark.parametrize("leaf", range(4))
def test_bad_leaf_is_the_number_of_the_tree(leaf, key):
    """A huge value in one leaf: the square of its gradient alone overflows."""
    names = ["bias", "conv", "dense", "scalar"]

    def lopsided(params, stats, key, fixed, index):
        parts = dict(zip(names, map(jnp.sum, jax.tree.leaves(params)), strict=True))
        value = sum(jnp.where(name == names[leaf], 1e30, 1.0) * v for name, v in parts.items())
        return value, (stats, {})

    tx = optax.sgd(0.0)
    for run in (make_run(make_step(lopsided, tx)), make_flat_run(lopsided, tx, PARAMS)):
        _, metrics = run(state_of(tx), {}, order(1), np.int32(1), jax.random.clone(key))
        assert metrics["bad_leaf"].tolist() == [leaf]


def test_a_layout_packs_what_fits_and_nothing_else():
    layout = Layout(PARAMS)
    tree = {"momentum": PARAMS, "count": np.int32(3), "other": {"bias": np.zeros(3, np.float32)}}
    packed = layout.pack_all(tree)
    assert packed["momentum"].shape == (3 + 30 + 12 + 1,)
    assert jax.tree.structure(packed["other"]) == jax.tree.structure(tree["other"])
    back = layout.unpack_all(packed, tree)
    jax.tree.map(np.testing.assert_array_equal, back, tree)
    found = [int(layout.leaf_at(jnp.int32(at))) for at in (0, 2, 3, 32, 33, 44, 45)]
    assert found == [0, 0, 1, 1, 2, 2, 3]
