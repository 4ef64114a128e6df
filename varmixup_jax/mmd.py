"""Maximum mean discrepancy and the objective of the MMD-VAE.

References:
  Gretton, Borgwardt, Rasch, Schölkopf, Smola. *A Kernel Two-Sample Test*, JMLR 2012, eqs. 2, 3, 5.
  Zhao, Song, Ermon. *InfoVAE*, 2017 (alpha = 1: no KL term).
  Tolstikhin, Bousquet, Gelly, Schölkopf. *Wasserstein Auto-Encoders*, 2018 (the imq kernel).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from varmixup_jax import checks
from varmixup_jax.types import Array, Key

Kernel = Callable[[Array], Array]  # squared distances -> kernel values, elementwise
KERNELS = ("rbf", "zhao", "imq")
IMQ_SCALES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)


def squared_distances(a: Array, b: Array) -> Array:
    """All pairs of squared Euclidean distances, `|a_i|^2 + |b_j|^2 - 2 a_i.b_j`, clipped at 0.

    One matrix product and O(N M) memory; the `[N, M, d]` difference is never formed.

    Args:
      a: `[N, d]`.
      b: `[M, d]`.

    Returns:
      `[N, M]`.

    >>> squared_distances(jnp.array([[0.0, 0.0]]), jnp.array([[3.0, 4.0]])).tolist()
    [[25.0]]
    """
    a2 = jnp.sum(a * a, axis=-1)[:, None]
    b2 = jnp.sum(b * b, axis=-1)[None, :]
    product = jnp.matmul(a, b.T, precision=jax.lax.Precision.HIGHEST)
    return jnp.maximum(a2 + b2 - jnp.asarray(2, a.dtype) * product, jnp.asarray(0, a.dtype))


def _exponential(squared: Array, *, two_s2: float) -> Array:
    return jnp.exp(-squared / two_s2)


def _inverse_multiquadratic(squared: Array, *, scales: tuple[float, ...]) -> Array:
    return jnp.asarray(sum(c / (c + squared) for c in scales))


def make_kernel(name: str, dim: int, bandwidth: float | None = None) -> Kernel:
    """The kernel as a function of the squared distance.

    `rbf`:  k = exp(-|a-b|^2 / (2 s^2)) with s^2 = `bandwidth`, by default d: for a, b ~ N(0, I_d) the
    squared distance is about 2d, so the kernel is about e^-1 and sensitive to scale and mean.
    `zhao`: k = exp(-|a-b|^2 / d^2), as in the published InfoVAE code: nearly flat in high dimension,
    so its gamma must be about 10^3 larger.
    `imq`:  k = sum_c C / (C + |a-b|^2), C = 2 d c over c in {.1, .2, .5, 1, 2, 5, 10}.

    Args:
      name: one of `KERNELS`.
      dim: d, the dimension of the points.
      bandwidth: s^2 of `rbf`; None means d. Refused for the other kernels.

    Raises:
      ValueError: unknown name, dim < 1, or a bandwidth that is not > 0 or not for `rbf`.
    """
    checks.one_of(KERNELS, kernel=name)
    checks.whole(1, dim=dim)
    if bandwidth is not None:
        checks.positive(bandwidth=bandwidth)
        if name != "rbf":
            raise ValueError(f"bandwidth = {bandwidth!r}: only the rbf kernel takes one")
    if name == "rbf":
        return partial(_exponential, two_s2=2.0 * (bandwidth or dim))
    if name == "zhao":
        return partial(_exponential, two_s2=float(dim * dim))
    return partial(_inverse_multiquadratic, scales=tuple(2.0 * dim * c for c in IMQ_SCALES))


def mmd_squared(a: Array, b: Array, kernel: Kernel, *, unbiased: bool = True) -> Array:
    r"""Squared maximum mean discrepancy of two distributions, estimated from samples.

    .. math::
        \mathrm{MMD}^2(P, Q) = E\, k(a, a') - 2 E\, k(a, b) + E\, k(b, b')

    The unbiased estimate (Gretton et al. 2012, eq. 3) leaves out the diagonals of the two within-sample
    means: its expectation does not depend on the sample size, and it can be negative. The biased
    one (eq. 5, the V-statistic) is >= 0 and shrinks with the sample size.

    Args:
      a: float `[N, d]`, samples of P; N >= 2 if unbiased.
      b: float `[M, d]`, samples of Q; M >= 2 if unbiased.
      kernel: from `make_kernel`, or any elementwise function of squared distances.
      unbiased: which estimate.

    Returns:
      A scalar.

    Raises:
      ValueError: a and b are not two sets of points of the same dimension, or have too few points.

    >>> points = jnp.array([[0.0], [1.0], [2.0]])
    >>> abs(float(mmd_squared(points, points, make_kernel("rbf", 1), unbiased=False))) < 1e-6
    True
    """
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1]:
        raise ValueError(f"a, b: shapes {a.shape} and {b.shape}, must be [N, d] and [M, d]")
    n, m = a.shape[0], b.shape[0]
    if min(n, m) < (2 if unbiased else 1):
        raise ValueError(
            f"a, b: {n} and {m} points, the unbiased estimate needs at least 2 of each"
        )
    kaa = kernel(squared_distances(a, a))
    kbb = kernel(squared_distances(b, b))
    kab = kernel(squared_distances(a, b))
    if not unbiased:
        return jnp.mean(kaa) + jnp.mean(kbb) - 2.0 * jnp.mean(kab)
    within_a = (jnp.sum(kaa) - jnp.trace(kaa)) / (n * (n - 1))
    within_b = (jnp.sum(kbb) - jnp.trace(kbb)) / (m * (m - 1))
    return within_a + within_b - 2.0 * jnp.mean(kab)


def mmd_to_normal(
    key: Key,
    latent: Array,
    *,
    kernel: str = "rbf",
    bandwidth: float | None = None,
    unbiased: bool = True,
) -> Array:
    """MMD^2 between a batch of latents and as many fresh samples of N(0, I).

    Args:
      key: for the samples of the prior.
      latent: `[B, ...]`; flattened to `[B, d]` and computed in float32.
      kernel, bandwidth: see `make_kernel`.
      unbiased: see `mmd_squared`.

    Returns:
      A float32 scalar.
    """
    points = latent.reshape(latent.shape[0], -1).astype(jnp.float32)
    prior = jax.random.normal(key, points.shape, jnp.float32)
    function = make_kernel(kernel, points.shape[1], bandwidth)
    return mmd_squared(points, prior, function, unbiased=unbiased)


class VAELoss(NamedTuple):
    """The parts of the MMD-VAE objective, float32 scalars."""

    loss: Array  # reconstruction + gamma * mmd (+ further)
    reconstruction: Array  # mean squared error per pixel, [0, 1]^2 units
    mmd: Array  # MMD^2


def mmd_vae_loss(
    key: Key,
    encode: Callable[[Array], tuple[Array, Array]],
    decode: Callable[[Array], Array],
    image: Array,
    *,
    gamma: float,
    kernel: str = "rbf",
    bandwidth: float | None = None,
    unbiased: bool = True,
    target: Array | None = None,
    further: Callable[[Array, Array], Array] | None = None,
) -> VAELoss:
    r"""The objective of the MMD-VAE, to be minimised.

    .. math::
        E \lVert x - D(z) \rVert^2 + \gamma\, \mathrm{MMD}^2(q(z), N(0, I)), \quad
        z = \mu(x) + \sigma(x) \varepsilon, \quad \varepsilon \sim N(0, I)

    with the squared error averaged over pixels.
    Both terms are minimised: the first is a negative log-likelihood up to constants (papers that
    print "E log p(x|z)" next to "+ gamma MMD" have the sign of one of the two reversed).

    Args:
      key: for the reparameterisation noise and the prior's samples.
      encode: `image -> (mean, log_std)` of q(z|x), both `[B, ...]`.
      decode: `latent -> image` in [0, 1].
      image: float `[B, H, W, C]`, what the encoder sees.
      gamma: weight of MMD^2, >= 0.
      kernel, bandwidth, unbiased: see `mmd_to_normal`.
      target: what is to be reconstructed, by default `image` (the clean image when `image` is
        adversarially perturbed).
      further: `(restored, target) -> scalar`, a distance that is added without a weight, or None.

    Returns:
      A `VAELoss` of float32 scalars.

    References:
      Zhao, Song, Ermon 2017, eq. 6 with alpha = 1 and D = MMD.
    """
    noise_key, prior_key = jax.random.split(key)
    mean, log_std = encode(image)
    noise = jax.random.normal(noise_key, mean.shape, mean.dtype)
    latent = mean + jnp.exp(log_std) * noise
    target = image if target is None else target
    restored, target = decode(latent).astype(jnp.float32), target.astype(jnp.float32)
    error = restored - target
    reconstruction = jnp.mean(jnp.square(error))
    added = further(restored, target) if further else 0.0
    mmd = mmd_to_normal(prior_key, latent, kernel=kernel, bandwidth=bandwidth, unbiased=unbiased)
    return VAELoss(reconstruction + gamma * mmd + added, reconstruction, mmd)
