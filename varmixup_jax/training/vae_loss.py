"""The loss of the MMD-VAE for `make_step`, standard or against attacks on its encoder."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from varmixup_jax import checks
from varmixup_jax.attacks.pgd import linf, pgd, uniform_start
from varmixup_jax.mmd import make_kernel, mmd_vae_loss
from varmixup_jax.training.feature_loss import feature_distance
from varmixup_jax.training.step import Loss
from varmixup_jax.types import Array, Key, PyTree

ADVERSARIES = ("recon", "latent")
ESTIMATORS = ("unbiased", "biased")


class Adversary(NamedTuple):
    """The attack an adversarially robust VAE is trained against.

    delta* = argmax over |delta|_inf <= eps of  |D(mu(x + delta)) - x|^2   (`recon`)
                                            or  |mu(x + delta) - mu(x)|^2  (`latent`).

    Attributes:
      objective: "recon" or "latent".
      eps: radius in pixel units, > 0.
      step_size: of a PGD step, pixel units, > 0.
      steps: PGD steps from a uniform random start, >= 1.
    """

    objective: str
    eps: float
    step_size: float
    steps: int


def perturb(
    key: Key,
    encode: Callable[[Array], tuple[Array, Array]],
    decode: Callable[[Array], Array],
    image: Array,
    adversary: Adversary,
) -> Array:
    """x + delta*, see `Adversary`: float32 `[B, H, W, C]` in [0, 1], within eps of `image`."""
    axes = tuple(range(1, image.ndim))
    mean = encode(image)[0]

    def recon(perturbed: Array) -> Array:
        error = decode(encode(perturbed)[0]) - image
        return jnp.mean(jnp.square(error.astype(jnp.float32)), axis=axes)

    def latent(perturbed: Array) -> Array:
        moved = (encode(perturbed)[0] - mean).astype(jnp.float32)
        return jnp.mean(jnp.square(moved), axis=tuple(range(1, moved.ndim)))

    return pgd(
        key,
        image,
        recon if adversary.objective == "recon" else latent,
        ball=linf(adversary.eps),
        steps=adversary.steps,
        step_size=adversary.step_size,
        start=uniform_start,
    ).image


def vae_loss(
    vae: Any,
    *,
    gamma: float,
    kernel: str = "rbf",
    bandwidth: float | None = None,
    estimator: str = "unbiased",
    augment: Callable[[Key, Array], Array],
    adversary: Adversary | None = None,
    perceptual: float = 0.0,
    classifier: Callable[..., tuple[Array, PyTree]] | None = None,
) -> Loss:
    """E|x - D(z)|^2 + gamma * MMD^2(q(z), N(0, I)) over batches of a data set on the device.

    With an adversary the encoder sees x + delta* and the *clean* x is the target. With `perceptual` > 0,
    + perceptual * feature_distance(D(z), x) of a frozen classifier.

    Args:
      vae: `models.forward.VAE`, pure encode and decode.
      gamma: weight of the MMD, >= 0.
      kernel, bandwidth: see `mmd.make_kernel`.
      estimator: "unbiased" or "biased".
      augment: `(key, image) -> image`.
      adversary: what to train against, or None.
      perceptual: weight of the distance between features, >= 0; see `feature_loss`.
      classifier: the one whose features are compared, as returned by `as_apply`.

    Returns:
      A `Loss` over `fixed["images"]` (uint8 `[N, H, W, C]`) and, with `perceptual`,
      `fixed["classifier"]`, its parameters and statistics. Metrics: `reconstruction` (mean squared
      error), `mmd`, `psnr` (dB).

    Raises:
      ValueError: an argument out of range.
    """
    checks.non_negative(gamma=gamma, perceptual=perceptual)
    checks.one_of(ESTIMATORS, estimator=estimator)
    make_kernel(kernel, 1, bandwidth)
    if adversary is not None:
        checks.one_of(ADVERSARIES, objective=adversary.objective)
        checks.positive(eps=adversary.eps, step_size=adversary.step_size)
        checks.whole(1, steps=adversary.steps)

    def loss(
        params: PyTree, stats: PyTree, key: Key, fixed: PyTree, index: Array
    ) -> tuple[Array, tuple[PyTree, dict[str, Array]]]:
        augment_key, attack_key, loss_key = jax.random.split(key, 3)
        image = fixed["images"][index].astype(jnp.float32) / 255.0
        image = augment(augment_key, image)

        def encode(image: Array) -> tuple[Array, Array]:
            return vae.encode(params, image)

        def decode(latent: Array) -> Array:
            return vae.decode(params, latent)

        def in_features(restored: Array, target: Array) -> Array:
            assert classifier is not None
            weights, statistics = fixed["classifier"]
            distance = feature_distance(classifier, weights, statistics, restored, target)
            return perceptual * distance

        seen = image
        if adversary is not None:
            seen = perturb(attack_key, encode, decode, image, adversary)
        parts = mmd_vae_loss(
            loss_key,
            encode,
            decode,
            seen,
            target=image,
            gamma=gamma,
            kernel=kernel,
            bandwidth=bandwidth,
            unbiased=estimator == "unbiased",
            further=in_features if perceptual else None,
        )
        metrics = {
            "reconstruction": parts.reconstruction,
            "mmd": parts.mmd,
            "psnr": psnr(parts.reconstruction),
        }
        return parts.loss, (stats, metrics)

    return loss


def psnr(mean_squared_error: Array) -> Array:
    """Peak signal-to-noise ratio in dB of images in [0, 1]: -10 log10(MSE).

    >>> round(float(psnr(jnp.array(0.01))), 4)
    20.0
    """
    return -10.0 * jnp.log10(mean_squared_error)
