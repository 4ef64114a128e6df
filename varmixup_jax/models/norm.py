"""Batch normalisation with a hand-written gradient, which makes few passes over its inputs."""

from __future__ import annotations

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from varmixup_jax.models.relu import relu
from varmixup_jax.models.replicated import vary_like
from varmixup_jax.types import Array


class BatchNorm(nn.Module):
    """Batch normalisation over batch and space, with the parameters of `nn.BatchNorm`.

        y = (x - m) / sqrt(v + epsilon) * scale + bias

    In training m and v are the batch's mean and biased variance per channel, and running statistics
    become momentum * running + (1 - momentum) * batch; in evaluation m and v are the running ones.
    PyTorch's `momentum=0.1` is 0.9 here (PyTorch keeps the unbiased variance, B H W / (B H W - 1)
    times ours).

    Attributes:
      use_running_average: evaluation (True) or training (False).
      momentum: weight of the old value in the update of a running statistic.
      epsilon: added to the variance.
      dtype: of the result; statistics and parameters are float32.
      rectify: whether to return max(y, 0) instead, with one gradient for both.

    References:
      Ioffe, Szegedy 2015, "Batch Normalization", algorithms 1 and 2.
    """

    use_running_average: bool
    momentum: float = 0.9
    epsilon: float = 1e-5
    dtype: str = "float32"
    rectify: bool = False

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
            out = _affine(hidden, factor, shift).astype(self.dtype)
            return relu(out) if self.rectify else out
        wide = hidden.astype(jnp.float32)
        scale, bias = vary_like(scale, wide), vary_like(bias, wide)
        about = vary_like(lax.stop_gradient(running_mean.value), wide)
        out, mean, var = _normalise(hidden, scale, bias, about, self.epsilon, self.rectify)
        if not self.is_initializing():
            keep, take = self.momentum, 1.0 - self.momentum
            running_mean.value = keep * running_mean.value + take * mean
            running_var.value = keep * running_var.value + take * var
        return out.astype(self.dtype)


@functools.partial(jax.custom_vjp, nondiff_argnums=(4, 5))
def _normalise(
    hidden: Array, scale: Array, bias: Array, about: Array, epsilon: float, rectify: bool
) -> tuple[Array, Array, Array]:
    """Returns the normalised `hidden`, and the mean and variance, which carry no gradient."""
    return _forward(hidden, scale, bias, about, epsilon, rectify)[0]


def _forward(hidden: Array, scale: Array, bias: Array, about: Array, epsilon: float, rectify: bool):
    # v = E[(x - a)^2] - E[x - a]^2 for any a: both in one pass over `hidden`. The closer a is to the
    # mean, the less cancels; a = 0 amplifies rounding by (mean / std)^2, the running mean hardly.
    shifted = hidden.astype(jnp.float32) - _maps(about)
    offset, square = _two_sums(shifted, jnp.square(shifted)) / _count(hidden)
    mean = about + offset
    var = jnp.maximum(square - jnp.square(offset), 0.0)  # rounding may make it negative
    inverse = lax.rsqrt(var + epsilon)
    factor = scale * inverse
    shift = bias - mean * factor
    out = _affine(hidden, factor, shift).astype(hidden.dtype)
    out = jnp.maximum(out, 0) if rectify else out
    return (out, mean, var), (hidden, mean, inverse, factor, shift)


def _backward(
    epsilon: float, rectify: bool, saved: tuple[Array, ...], cotangents: tuple[Array, ...]
):
    """With n = (x - m) / s, g the cotangent of n * scale + bias and M = B H W:

    dscale = sum g n,  dbias = sum g,  dx = scale / s * (g - dbias / M - n dscale / M).
    """
    del epsilon
    hidden, mean, inverse, factor, shift = saved

    def terms(hidden: Array, cotangent: Array) -> tuple[Array, Array]:
        """g and x - m."""
        if rectify:
            positive = _affine(hidden, factor, shift).astype(hidden.dtype) > 0
            cotangent = jnp.where(positive, cotangent, 0)
        return cotangent.astype(jnp.float32), hidden.astype(jnp.float32) - _maps(mean)

    g, centred = terms(hidden, cotangents[0])
    bias_gradient, scale_gradient = _two_sums(g, g * centred)
    scale_gradient *= inverse
    if rectify:
        # Recomputed from what is kept anyway: the barrier stops the compiler from storing the masked
        # cotangent in memory for this second pass.
        g, centred = terms(*lax.optimization_barrier((hidden, cotangents[0])))
    gradient = g * _maps(factor)
    gradient -= centred * _maps(factor * inverse * scale_gradient / _count(hidden))
    gradient -= _maps(factor * bias_gradient / _count(hidden))
    return gradient.astype(hidden.dtype), scale_gradient, bias_gradient, None


_normalise.defvjp(_forward, _backward)


def _two_sums(a: Array, b: Array) -> Array:
    """The sums of two maps over batch and space, `[2, C]`, by one reduction for both."""
    return jnp.sum(jnp.stack([jnp.sum(a, axis=(1, 2)), jnp.sum(b, axis=(1, 2))]), axis=1)


def _affine(hidden: Array, factor: Array, shift: Array) -> Array:
    return hidden.astype(jnp.float32) * _maps(factor) + _maps(shift)


def _maps(values: Array) -> Array:
    """`[C]` to `[1, 1, 1, C]`."""
    return values.reshape(1, 1, 1, -1)


def _count(hidden: Array) -> int:
    """Values of one channel: B H W."""
    return hidden.size // hidden.shape[-1]
