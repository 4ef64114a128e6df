"""Threat models: norm balls around each image, and where in them an attack starts.

A ball acts per example, over all axes but the first; its radius is in pixel units, [0, 1]. The
radius may be traced, so that one compilation serves several radii.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import jax
import jax.numpy as jnp

from varmixup_jax import checks
from varmixup_jax.types import Array, Key


class Ball(Protocol):
    r"""The set of allowed perturbations :math:`\{\delta : \lVert\delta\rVert \le r\}`, per example.

    Guarantees:
      * `project` returns the nearest point of the ball, and points inside it unchanged;
      * `sample` is uniform in the ball;
      * `ascent(g)` is the d that maximises :math:`\langle g, d \rangle` over
        :math:`\lVert d \rVert \le 1`; it is 0 where g is 0;
      * with radius 0, `project` and `sample` return zeros.
    """

    @property
    def radius(self) -> float | Array: ...

    def project(self, delta: Array) -> Array: ...

    def sample(self, key: Key, shape: tuple[int, ...], dtype: jnp.dtype) -> Array: ...

    def ascent(self, grad: Array) -> Array: ...


@dataclass(frozen=True)
class Linf:
    """The l-infinity ball: every pixel value may change by at most `radius`."""

    radius: float | Array

    def __post_init__(self) -> None:
        _check_radius(self.radius)

    def project(self, delta: Array) -> Array:
        """Clips each entry to [-radius, radius]."""
        return jnp.clip(delta, -self.radius, self.radius)

    def sample(self, key: Key, shape: tuple[int, ...], dtype: jnp.dtype) -> Array:
        """Independent uniform entries in [-radius, radius]."""
        unit = jax.random.uniform(key, shape, dtype, -1.0, 1.0)
        return unit * jnp.asarray(self.radius, dtype)

    def ascent(self, grad: Array) -> Array:
        """The sign of each entry."""
        return jnp.sign(grad)


@dataclass(frozen=True)
class L2:
    """The Euclidean ball: the root of the sum of squared changes is at most `radius`."""

    radius: float | Array

    def __post_init__(self) -> None:
        _check_radius(self.radius)

    def project(self, delta: Array) -> Array:
        """Scales points outside the ball back to the sphere."""
        norm = _norm(delta)
        inside = norm <= self.radius
        scale = jnp.asarray(self.radius, delta.dtype) / jnp.where(inside, jnp.ones_like(norm), norm)
        return jnp.where(inside, delta, delta * scale)

    def sample(self, key: Key, shape: tuple[int, ...], dtype: jnp.dtype) -> Array:
        """A uniform direction times radius * U^(1/n), n the number of entries of one example."""
        direction_key, length_key = jax.random.split(key)
        direction = self.ascent(jax.random.normal(direction_key, shape, dtype))
        per_example = (shape[0],) + (1,) * (len(shape) - 1)
        size = max(1, direction[0].size)
        length = jax.random.uniform(length_key, per_example, dtype) ** (1.0 / size)
        return direction * length * jnp.asarray(self.radius, dtype)

    def ascent(self, grad: Array) -> Array:
        """grad / |grad|."""
        # Scaled by the largest entry first: squares of gradients below 1e-19 underflow in float32.
        largest = jnp.max(jnp.abs(grad), axis=_axes(grad), keepdims=True)
        scaled = grad / jnp.where(largest > 0, largest, jnp.ones_like(largest))
        norm = _norm(scaled)
        return scaled / jnp.where(norm > 0, norm, jnp.ones_like(norm))


def linf(eps: float | Array) -> Linf:
    """The l-infinity ball of radius `eps` (pixels in [0, 1]).

    Raises:
      ValueError: eps < 0 (checked where its value is known).

    >>> linf(0.5).project(jnp.array([[0.25, -2.0]])).tolist()
    [[0.25, -0.5]]
    """
    return Linf(eps)


def l2(eps: float | Array) -> L2:
    """The Euclidean ball of radius `eps` (pixels in [0, 1]).

    Raises:
      ValueError: eps < 0 (checked where its value is known).

    >>> l2(1.0).project(jnp.array([[3.0, 4.0]])).round(6).tolist()
    [[0.6000000238418579, 0.800000011920929]]
    """
    return L2(eps)


Start = Callable[[Key, Ball, tuple[int, ...]], Array]
"""`(key, ball, shape) -> delta`, float32: where an attack starts, before projection."""


def uniform_start(key: Key, ball: Ball, shape: tuple[int, ...]) -> Array:
    """Uniform in the ball (Madry et al. 2018)."""
    return ball.sample(key, shape, jnp.float32)


def zero_start(key: Key, ball: Ball, shape: tuple[int, ...]) -> Array:
    """The image itself. The gradient of a distance *from the image* is 0 there.

    Up to rounding, whose sign an l-infinity step would follow: use another start for such distances.
    """
    del key, ball
    return jnp.zeros(shape, jnp.float32)


def gaussian_start(sigma: float) -> Start:
    """Independent normal entries of standard deviation `sigma` (TRADES: 0.001).

    Raises:
      ValueError: sigma < 0.
    """
    checks.non_negative(sigma=sigma)
    return partial(_gaussian_start, sigma=sigma)


def _gaussian_start(key: Key, ball: Ball, shape: tuple[int, ...], *, sigma: float) -> Array:
    del ball
    return sigma * jax.random.normal(key, shape, jnp.float32)


def _check_radius(radius: float | Array) -> None:
    if not isinstance(radius, jax.core.Tracer):
        checks.non_negative(radius=radius)


def _axes(array: Array) -> tuple[int, ...]:
    return tuple(range(1, array.ndim))


def _norm(array: Array) -> Array:
    """Euclidean norm per example, `[B, 1, ..., 1]`."""
    return jnp.sqrt(jnp.sum(jnp.square(array), axis=_axes(array), keepdims=True))
