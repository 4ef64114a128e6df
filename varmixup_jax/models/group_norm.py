"""GroupNorm and silu with one hand-written gradient, which makes few passes over its inputs."""

from __future__ import annotations

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from varmixup_jax.models.replicated import vary_like
from varmixup_jax.types import Array


class GroupNormSilu(nn.Module):
    """silu of a group normalisation, with the parameters of `nn.GroupNorm`.

        u = (x - m) / sqrt(v + epsilon) * scale + bias,   y = u sigmoid(u)

    m and v are the mean and biased variance of an example over space and the channels of a group.

    Attributes:
      groups: number of groups; divides the channels.
      epsilon: added to the variance.
      dtype: of the result; statistics and parameters are float32.

    References:
      Wu, He 2018, "Group Normalization", equations 1 to 7.
    """

    groups: int
    epsilon: float = 1e-6
    dtype: str = "float32"

    @nn.compact
    def __call__(self, hidden: Array) -> Array:
        """Maps `[B, H, W, C]` to the same shape."""
        shape = (hidden.shape[-1],)
        scale = self.param("scale", nn.initializers.ones_init(), shape, jnp.float32)
        bias = self.param("bias", nn.initializers.zeros_init(), shape, jnp.float32)
        wide = hidden.astype(jnp.float32)
        scale, bias = vary_like(scale, wide), vary_like(bias, wide)
        return _norm_silu(hidden.astype(self.dtype), scale, bias, self.groups, self.epsilon)


@functools.partial(jax.custom_vjp, nondiff_argnums=(3, 4))
def _norm_silu(hidden: Array, scale: Array, bias: Array, groups: int, epsilon: float) -> Array:
    return _forward(hidden, scale, bias, groups, epsilon)[0]


def _forward(hidden: Array, scale: Array, bias: Array, groups: int, epsilon: float):
    wide = hidden.astype(jnp.float32)
    mean, square = _group_means(_over_space(wide, jnp.square(wide)), hidden, groups)
    var = jnp.maximum(square - jnp.square(mean), 0.0)  # rounding may make it negative
    inverse = lax.rsqrt(var + epsilon)
    factor = scale[None] * inverse
    shift = bias[None] - mean * factor
    out = wide * _maps(factor) + _maps(shift)
    return jax.nn.silu(out).astype(hidden.dtype), (hidden, scale, mean, inverse, factor, shift)


def _backward(groups: int, epsilon: float, saved: tuple[Array, ...], cotangent: Array):
    """With n = (x - m) / s, h = g silu'(u) the cotangent of u = n * scale + bias, E over a group:

    dscale = sum h n,  dbias = sum h,  dx = (scale h - E[scale h] - n E[scale h n]) / s.
    """
    del epsilon
    hidden, scale, mean, inverse, factor, shift = saved
    wide = hidden.astype(jnp.float32)
    out = wide * _maps(factor) + _maps(shift)
    gate = jax.nn.sigmoid(out)
    h = cotangent.astype(jnp.float32) * gate * (1.0 + out * (1.0 - gate))
    # Both passes below read h from memory (XLA does not recompute the sigmoid): the barrier makes it
    # be stored in the dtype of the activations.
    h = lax.optimization_barrier(h.astype(hidden.dtype)).astype(jnp.float32)
    n = (wide - _maps(mean)) * _maps(inverse)
    sums = _over_space(h, h * n)
    of_h, of_hn = _group_means(sums * scale[None, None], hidden, groups)
    gradient = h * _maps(factor) - _maps(of_h * inverse) - n * _maps(of_hn * inverse)
    bias_gradient, scale_gradient = jnp.sum(sums, axis=1)
    return gradient.astype(hidden.dtype), scale_gradient, bias_gradient


_norm_silu.defvjp(_forward, _backward)


def _over_space(a: Array, b: Array) -> Array:
    """The sums over space of two maps, `[2, B, C]`, so that both are processed together."""
    return jnp.stack([jnp.sum(a, axis=(1, 2)), jnp.sum(b, axis=(1, 2))])


def _group_means(sums: Array, hidden: Array, groups: int) -> Array:
    """Each channel's group mean `[2, B, C]`, from sums over space `[2, B, C]`."""
    _, rows, columns, channels = hidden.shape
    grouped = sums.reshape(*sums.shape[:2], groups, channels // groups)
    means = jnp.sum(grouped, axis=3, keepdims=True) / (rows * columns * channels // groups)
    return jnp.broadcast_to(means, grouped.shape).reshape(sums.shape)


def _maps(values: Array) -> Array:
    """`[B, C]` to `[B, 1, 1, C]`."""
    return values[:, None, None, :]
