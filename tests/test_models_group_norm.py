"""GroupNorm with silu as one gradient: NumPy in float64, and the two as JAX derives them."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from bfloat16 import assert_as_near

from varmixup_jax.models.group_norm import GroupNormSilu

# Values that bfloat16 has, so that only what is computed is rounded; the examples differ in scale.
DRAWN = np.random.default_rng(0).normal(size=(2, 3, 5, 4, 6))
HIDDEN, COTANGENT = np.asarray(jnp.asarray(DRAWN + 0.5, "bfloat16"), float)
HIDDEN = HIDDEN * np.array([0.5, 1.0, 4.0])[:, None, None, None]
SCALE, BIAS = np.linspace(0.5, -1.5, 6), np.linspace(-0.5, 0.5, 6)
GROUPS, EPSILON = 2, 1e-6


def gradients(norm, dtype):
    """Result and gradients (of x, scale, bias) at `HIDDEN`."""

    @jax.jit
    def run(hidden, params, cotangent):
        value, pullback = jax.vjp(norm, {"params": params}, hidden)
        return value, pullback(cotangent)

    params = {"scale": jnp.asarray(SCALE, "float32"), "bias": jnp.asarray(BIAS, "float32")}
    value, (tree, gradient) = run(jnp.asarray(HIDDEN, dtype), params, jnp.asarray(COTANGENT, dtype))
    leaves = (value, gradient, tree["params"]["scale"], tree["params"]["bias"])
    return [np.asarray(leaf, np.float64) for leaf in leaves]


def ours(variables, hidden):
    return GroupNormSilu(GROUPS, dtype=hidden.dtype.name).apply(variables, hidden)


def plain(variables, hidden):
    out = nn.GroupNorm(GROUPS).apply(variables, hidden.astype(jnp.float32))
    return nn.silu(out.astype(hidden.dtype))


@functools.cache
def exact():
    grouped = HIDDEN.reshape(3, 20, GROUPS, 3)

    def over_group(maps):
        mean = maps.reshape(grouped.shape).mean(axis=(1, 3), keepdims=True)
        return np.broadcast_to(mean, grouped.shape).reshape(HIDDEN.shape)

    centred = HIDDEN - over_group(HIDDEN)
    deviation = np.sqrt(over_group(centred**2) + EPSILON)
    n = centred / deviation
    u = n * SCALE + BIAS
    gate = 1 / (1 + np.exp(-u))
    h = COTANGENT * (gate + u * gate * (1 - gate))
    scaled = SCALE * h
    gradient = (scaled - over_group(scaled) - n * over_group(scaled * n)) / deviation
    return [u * gate, gradient, (h * n).sum(axis=(0, 1, 2)), h.sum(axis=(0, 1, 2))]


def test_value_and_gradients_are_those_of_the_formula():
    for found, expected in zip(gradients(ours, "float32"), exact(), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=2e-5)


def test_in_bfloat16_it_is_as_near_as_the_gradient_that_jax_derives():
    assert_as_near(*(gradients(norm, "bfloat16") for norm in (ours, plain)), exact())


def test_its_parameters_are_those_of_flax():
    shapes = [
        jax.eval_shape(module.init, jax.random.key(0), jnp.zeros(HIDDEN.shape))
        for module in (GroupNormSilu(GROUPS), nn.GroupNorm(GROUPS))
    ]
    assert shapes[0] == shapes[1]
