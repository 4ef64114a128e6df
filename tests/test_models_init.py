"""Initialisation: exactly `module.init`'s numbers, without its forward pass."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from varmixup_jax import models
from varmixup_jax.models.initializers import scaled_normal

IMAGE = jax.ShapeDtypeStruct((2, 8, 8, 1), jnp.float32)


def _module(kind):
    if kind == "vae":
        return models.build_vae((8, 8, 1), latent="vector", latent_size=3, width=2, blocks=0)
    module = models.build_classifier(kind, num_classes=3, mean=[0.5], std=[0.25], width=4)
    return module.clone(blocks=(1,))


@pytest.mark.parametrize("kind", ["resnet8", "vae"])
def test_init_is_module_init(kind):
    module = _module(kind)
    ours = models.init(jax.random.key(7), module, IMAGE)
    theirs = jax.jit(module.init)(jax.random.key(7), np.zeros(IMAGE.shape, np.float32))
    assert jax.tree.structure(ours) == jax.tree.structure(theirs)
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6)
    kernels = [leaf for leaf in jax.tree.leaves(ours) if leaf.ndim > 1]
    starts = {float(leaf.ravel()[0] / leaf.std()) for leaf in kernels}
    assert len(starts) == len(kernels)  # each layer has draws of its own


def test_init_depends_on_the_key_alone():
    module = _module("resnet8")
    first, again, other = (models.init(jax.random.key(i), module, IMAGE) for i in (0, 0, 1))
    for a, b in zip(jax.tree.leaves(first), jax.tree.leaves(again), strict=True):
        np.testing.assert_array_equal(a, b)
    head = ("params", "head", "kernel")
    a, b = (np.asarray(tree[head[0]][head[1]][head[2]]) for tree in (first, other))
    assert np.abs(a - b).max() > 0.1


def test_init_runs_no_forward_pass():
    class Counting(nn.Module):
        @nn.compact
        def __call__(self, x):
            jax.debug.callback(lambda v: ran.append(v), x.sum())
            return nn.Dense(2, kernel_init=scaled_normal(1.0, "fan_in"))(x)

    ran = []
    variables = models.init(jax.random.key(0), Counting(), np.ones((1, 3), np.float32))
    jax.effects_barrier()
    assert variables["params"]["Dense_0"]["kernel"].shape == (3, 2)
    assert ran == []


def test_variables_that_depend_on_the_input_are_refused():
    class Whitening(nn.Module):
        @nn.compact
        def __call__(self, x):
            return x - self.variable("stats", "mean", lambda: x.mean()).value

    with pytest.raises(ValueError, match="module = Whitening: its variables must not depend"):
        models.init(jax.random.key(0), Whitening(), np.ones((1, 3), np.float32))


@pytest.mark.parametrize(
    ("scale", "mode", "shape", "fan"),
    [
        (2.0, "fan_out", (3, 3, 40, 250), 3 * 3 * 250),  # longer than one block of draws
        (1.0, "fan_in", (3, 3, 40, 250), 3 * 3 * 40),
        (1.0, "fan_in", (300, 100), 300),
    ],
)
def test_scaled_normal_has_the_stated_law(scale, mode, shape, fan, key):
    draws = np.asarray(scaled_normal(scale, mode)(key, shape), np.float64).ravel()
    units = draws / np.sqrt(scale / fan)
    n = units.size
    assert abs(units.mean()) < 5 / np.sqrt(n)
    assert abs(units.var() - 1.0) < 5 * np.sqrt(2 / n)
    assert abs((units**4).mean() - 3.0) < 5 * np.sqrt(96 / n)
    assert abs((units[:-1] * units[1:]).mean()) < 5 / np.sqrt(n)
    assert np.unique(units).size > 0.9 * n  # no block of draws is repeated


@pytest.mark.parametrize(
    ("arguments", "message"),
    [((0.0, "fan_in"), "scale = 0.0: must be > 0"), ((1.0, "fan_up"), "mode = 'fan_up'")],
)
def test_refusals(arguments, message):
    with pytest.raises(ValueError, match=message):
        scaled_normal(*arguments)


def test_a_shape_without_fans_is_refused(key):
    with pytest.raises(ValueError, match=r"shape = \(3,\): must have an input and an output"):
        scaled_normal(1.0, "fan_in")(key, (3,))
