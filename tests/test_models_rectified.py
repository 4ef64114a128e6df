"""relu, and BatchNorm with relu as one gradient: NumPy in float64, and the two as JAX derives them."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from bfloat16 import assert_as_near

from varmixup_jax.models.norm import BatchNorm
from varmixup_jax.models.relu import relu

RNG = np.random.default_rng(0)
# Values that bfloat16 has, so that only what is computed is rounded.
HIDDEN, COTANGENT = np.asarray(jnp.asarray(RNG.normal(size=(2, 16, 6, 6, 3)), "bfloat16"), float)
SCALE, BIAS = np.array([0.5, 1.0, -2.0]), np.array([0.3, -0.2, 0.1])
EPSILON = 1e-5


def gradients(norm, dtype):
    """Result and gradients (of x, scale, bias) of a rectified normalisation of `HIDDEN`."""
    hidden, cotangent = jnp.asarray(HIDDEN, dtype), jnp.asarray(COTANGENT, dtype)
    stats = {"mean": jnp.zeros(3), "var": jnp.ones(3)}

    @jax.jit
    def run(hidden, params):
        def out(hidden, params):
            return norm({"params": params, "batch_stats": stats}, hidden)

        value, pullback = jax.vjp(out, hidden, params)
        return value, pullback(cotangent)

    params = {"scale": jnp.asarray(SCALE, "float32"), "bias": jnp.asarray(BIAS, "float32")}
    value, (gradient, params) = run(hidden, params)
    leaves = (value, gradient, params["scale"], params["bias"])
    return [np.asarray(leaf, np.float64) for leaf in leaves]


def ours(variables, hidden):
    module = BatchNorm(use_running_average=False, dtype=hidden.dtype.name, rectify=True)
    return module.apply(variables, hidden, mutable=["batch_stats"])[0]


def plain(variables, hidden):
    wide = hidden.astype(jnp.float32).reshape(-1, 3)
    deviation = jnp.sqrt(wide.var(axis=0, keepdims=True) + EPSILON)
    n = (wide - wide.mean(axis=0, keepdims=True)) / deviation
    scale, bias = variables["params"]["scale"][None], variables["params"]["bias"][None]
    return jax.nn.relu((n * scale + bias).astype(hidden.dtype)).reshape(hidden.shape)


@functools.cache
def exact():
    deviation = np.sqrt(HIDDEN.var(axis=(0, 1, 2)) + EPSILON)
    n = (HIDDEN - HIDDEN.mean(axis=(0, 1, 2))) / deviation
    value = n * SCALE + BIAS
    g = np.where(value > 0, COTANGENT, 0.0)
    assert 0.3 < np.mean(g == 0) < 0.7
    bias, scale = g.sum(axis=(0, 1, 2)), (g * n).sum(axis=(0, 1, 2))
    count = n.size // 3
    gradient = SCALE / deviation * (g - bias / count - n * scale / count)
    return [np.maximum(value, 0), gradient, scale, bias]


def test_rectified_batch_norm_is_the_formula_in_float64():
    for found, expected in zip(gradients(ours, "float32"), exact(), strict=True):
        np.testing.assert_allclose(found, expected, rtol=2e-5, atol=2e-5)


def test_in_bfloat16_it_is_as_near_as_the_gradient_that_jax_derives():
    assert_as_near(*(gradients(norm, "bfloat16") for norm in (ours, plain)), exact())


def test_in_evaluation_relu_follows():
    variables = {
        "params": {"scale": SCALE.astype(np.float32), "bias": BIAS.astype(np.float32)},
        "batch_stats": {"mean": np.float32([0.3, 0, -1]), "var": np.float32([1, 2, 0.5])},
    }
    found = BatchNorm(use_running_average=True, rectify=True).apply(variables, HIDDEN)
    mean, var = variables["batch_stats"]["mean"], variables["batch_stats"]["var"]
    expected = (HIDDEN - mean) / np.sqrt(var + EPSILON) * SCALE + BIAS
    np.testing.assert_allclose(found, np.maximum(expected, 0), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("way", [lambda f: f, jax.jit, jax.vmap])
def test_relu_and_its_derivatives_both_ways(way):
    x = jnp.array([-1.5, -0.0, 0.0, 1e-30, 2.0])
    slope = [0.0, 0.0, 0.0, 1.0, 1.0]
    np.testing.assert_array_equal(way(relu)(x), np.maximum(x, 0))
    _, tangent = jax.jvp(way(relu), (x,), (jnp.full(5, 3.0),))
    np.testing.assert_array_equal(tangent, 3 * np.array(slope))
    np.testing.assert_array_equal(jax.grad(lambda x: way(relu)(x).sum())(x), slope)
