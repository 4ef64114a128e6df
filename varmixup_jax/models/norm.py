"""Batch and group normalisation with a hand-written gradient that reads its inputs few times.

Both subtract a mean and divide by a standard deviation that are averages of per-example,
per-channel means over the space; they differ only in what is pooled: the batch, or the channels of
a group. One pair of functions, forward and backward, therefore serves both.
"""

from __future__ import annotations

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from varmixup_jax import checks
from varmixup_jax.types import Array


class BatchNorm(nn.Module):
    """Batch normalisation over batch and space, with the parameters of `nn.BatchNorm`.

        y = (x - m) / sqrt(v + epsilon) * scale + bias

    m and v are the batch's mean and (biased) variance per channel when `use_running_average` is
    False, and then running = momentum * running + (1 - momentum) * batch; else they are the running
    ones. PyTorch's `momentum=0.1` is 0.9 here.

    Attributes:
      use_running_average: evaluation (True) or training (False).
      momentum: share of the old value that a running statistic keeps.
      epsilon: added to the variance.
      dtype: of the result; statistics are computed and kept in float32.

    References:
      Ioffe, Szegedy 2015, "Batch Normalization", algorithms 1 and 2.
    """

    use_running_average: bool
    momentum: float = 0.9
    epsilon: float = 1e-5
    dtype: str = "float32"

    @nn.compact
    def __call__(self, hidden: Array) -> Array:
        """Maps `[B, H, W, C]` to the same shape."""
        shape = (hidden.shape[-1],)
        running_mean = self.variable("batch_stats", "mean", jnp.zeros, shape, jnp.float32)
        running_var = self.variable("batch_stats", "var", jnp.ones, shape, jnp.float32)
        scale = self.param("scale", nn.initializers.ones_init(), shape, jnp.float32)
        bias = self.param("bias", nn.initializers.zeros_init(), shape, jnp.float32)
        if self.use_running_average:
            factor = scale * lax.rsqrt(running_var.value + self.epsilon)
            shift = bias - running_mean.value * factor
            out = hidden.astype(jnp.float32) * _channels(factor) + _channels(shift)
            return out.astype(self.dtype)
        out, mean, var = _normalise(hidden, scale, bias, self.epsilon, None)
        if not self.is_initializing():
            keep, take = self.momentum, 1.0 - self.momentum
            running_mean.value = keep * running_mean.value + take * mean[0]
            running_var.value = keep * running_var.value + take * var[0]
        return out.astype(self.dtype)


class GroupNorm(nn.Module):
    """Group normalisation over space and the channels of a group, with `nn.GroupNorm`'s parameters.

    Attributes:
      groups: number of groups of neighbouring channels; must divide the number of channels.
      epsilon: added to the variance.
      dtype: of the result; statistics are computed in float32.

    References:
      Wu, He 2018, "Group Normalization", equations 2 and 7.
    """

    groups: int
    epsilon: float = 1e-6
    dtype: str = "float32"

    @nn.compact
    def __call__(self, hidden: Array) -> Array:
        """Maps `[B, H, W, C]` to the same shape; ValueError unless `groups` divides C."""
        shape = (hidden.shape[-1],)
        checks.whole(1, groups=self.groups)
        if shape[0] % self.groups:
            raise ValueError(f"groups = {self.groups}: must divide the {shape[0]} channels")
        scale = self.param("scale", nn.initializers.ones_init(), shape, jnp.float32)
        bias = self.param("bias", nn.initializers.zeros_init(), shape, jnp.float32)
        out, _, _ = _normalise(hidden, scale, bias, self.epsilon, self.groups)
        return out.astype(self.dtype)


@functools.partial(jax.custom_vjp, nondiff_argnums=(3, 4))
def _normalise(
    hidden: Array, scale: Array, bias: Array, epsilon: float, groups: int | None
) -> tuple[Array, Array, Array]:
    """Returns the normalised `hidden`, and mean and variance `[B, C]`, which take no gradient."""
    return _forward(hidden, scale, bias, epsilon, groups)[0]


def _forward(hidden: Array, scale: Array, bias: Array, epsilon: float, groups: int | None):
    wide = hidden.astype(jnp.float32)
    mean = _pool(_space_mean(wide), groups)
    # E[x^2] - E[x]^2 reads `hidden` once, both sums together; rounding may make it negative.
    var = jnp.maximum(_pool(_space_mean(jnp.square(wide)), groups) - jnp.square(mean), 0.0)
    inverse = lax.rsqrt(var + epsilon)
    out = _centred(hidden, mean) * _maps(inverse * scale.reshape(1, -1)) + _channels(bias)
    return (out.astype(hidden.dtype), mean, var), (hidden, scale, mean, inverse)


def _backward(epsilon: float, groups: int | None, saved: tuple[Array, ...], cotangents):
    """With n = (x - m) / s and g the cotangent of y = n scale + bias, and <.> the pooled mean:

    dx = (scale g - <scale g> - n <scale g n>) / s,  dscale = sum g n,  dbias = sum g.
    """
    del epsilon
    hidden, scale, mean, inverse = saved
    cotangent = cotangents[0].astype(jnp.float32)
    row = scale.reshape(1, -1)
    sum_g = _space_mean(cotangent)
    sum_gn = _space_mean(cotangent * _centred(hidden, mean)) * inverse
    constant = -inverse * _pool(row * sum_g, groups)
    slope = -jnp.square(inverse) * _pool(row * sum_gn, groups)
    grad = cotangent * _maps(inverse * row)
    grad = grad + _centred(hidden, mean) * _maps(slope) + _maps(constant)
    pixels = hidden.shape[1] * hidden.shape[2]
    return grad.astype(hidden.dtype), pixels * sum_gn.sum(axis=0), pixels * sum_g.sum(axis=0)


_normalise.defvjp(_forward, _backward)


def _space_mean(maps: Array) -> Array:
    return jnp.mean(maps, axis=(1, 2))


def _pool(values: Array, groups: int | None) -> Array:
    """Averages `[B, C]` over the batch (no groups) or the channels of each group, in place."""
    if groups is None:
        return jnp.broadcast_to(values.mean(axis=0, keepdims=True), values.shape)
    split = values.reshape(values.shape[0], groups, -1)
    return jnp.broadcast_to(split.mean(axis=2, keepdims=True), split.shape).reshape(values.shape)


def _centred(hidden: Array, mean: Array) -> Array:
    return hidden.astype(jnp.float32) - _maps(mean)


def _maps(values: Array) -> Array:
    """`[B, C]` to `[B, 1, 1, C]`."""
    return values[:, None, None, :]


def _channels(values: Array) -> Array:
    """`[C]` to `[1, 1, 1, C]`."""
    return values.reshape(1, 1, 1, -1)
