"""Batch normalisation with a hand-written gradient that reads its inputs few times."""

from __future__ import annotations

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from varmixup_jax.models.replicated import vary_like
from varmixup_jax.types import Array


class BatchNorm(nn.Module):
    """Batch normalisation over batch and space, with the parameters of `nn.BatchNorm`.

        y = (x - m) / sqrt(v + epsilon) * scale + bias

    In training m and v are the batch's mean and biased variance per channel, and the running ones
    become momentum * running + (1 - momentum) * batch; in evaluation they are the running ones.
    PyTorch's `momentum=0.1` is 0.9 here (PyTorch keeps the unbiased variance, B H W / (B H W - 1)
    times ours).

    Attributes:
      use_running_average: evaluation (True) or training (False).
      momentum: share of the old value that a running statistic keeps.
      epsilon: added to the variance.
      dtype: of the result; statistics and parameters are float32.

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
            out = hidden.astype(jnp.float32) * _maps(factor) + _maps(shift)
            return out.astype(self.dtype)
        wide = hidden.astype(jnp.float32)
        scale, bias = vary_like(scale, wide), vary_like(bias, wide)
        about = vary_like(lax.stop_gradient(running_mean.value), wide)
        out, mean, var = _normalise(hidden, scale, bias, about, self.epsilon)
        if not self.is_initializing():
            keep, take = self.momentum, 1.0 - self.momentum
            running_mean.value = keep * running_mean.value + take * mean
            running_var.value = keep * running_var.value + take * var
        return out.astype(self.dtype)


@functools.partial(jax.custom_vjp, nondiff_argnums=(4,))
def _normalise(
    hidden: Array, scale: Array, bias: Array, about: Array, epsilon: float
) -> tuple[Array, Array, Array]:
    """Returns the normalised `hidden`, and the mean and variance, which take no gradient."""
    return _forward(hidden, scale, bias, about, epsilon)[0]


def _forward(hidden: Array, scale: Array, bias: Array, about: Array, epsilon: float):
    wide = hidden.astype(jnp.float32)
    # v = E[(x - a)^2] - E[x - a]^2 for any a: both in one pass over `hidden`. The nearer a is to the
    # mean, the less cancels; a = 0 loses (mean / std)^2 roundings, the running mean next to none.
    shifted = wide - _maps(about)
    offset = jnp.mean(shifted, axis=(0, 1, 2))
    square = jnp.mean(jnp.square(shifted), axis=(0, 1, 2))
    mean = about + offset
    var = jnp.maximum(square - jnp.square(offset), 0.0)  # rounding may make it negative
    inverse = lax.rsqrt(var + epsilon)
    factor = scale * inverse
    out = wide * _maps(factor) + _maps(bias - mean * factor)
    return (out.astype(hidden.dtype), mean, var), (hidden, scale, mean, inverse)


def _backward(epsilon: float, saved: tuple[Array, ...], cotangents: tuple[Array, ...]):
    """With n = (x - m) / s, g the cotangent of n * scale + bias and M = B H W:

    dscale = sum g n,  dbias = sum g,  dx = scale / s * (g - dbias / M - n dscale / M).
    """
    del epsilon
    hidden, scale, mean, inverse = saved
    cotangent = cotangents[0].astype(jnp.float32)
    centred = hidden.astype(jnp.float32) - _maps(mean)
    bias_gradient = jnp.sum(cotangent, axis=(0, 1, 2))
    scale_gradient = jnp.sum(cotangent * centred, axis=(0, 1, 2)) * inverse
    count = hidden.size // hidden.shape[-1]
    factor = scale * inverse
    gradient = cotangent * _maps(factor)
    gradient -= centred * _maps(factor * inverse * scale_gradient / count)
    gradient -= _maps(factor * bias_gradient / count)
    return gradient.astype(hidden.dtype), scale_gradient, bias_gradient, None


_normalise.defvjp(_forward, _backward)


def _maps(values: Array) -> Array:
    """`[C]` to `[1, 1, 1, C]`."""
    return values.reshape(1, 1, 1, -1)
