"""The loss of a classifier: a risk over batches of a data set on the device."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from varmixup_jax.training.step import Loss
from varmixup_jax.types import Array, Draw, Key, PyTree
from varmixup_jax.vicinal.objective import Frozen, Risk
from varmixup_jax.vicinal.several_vaes import OtherVAE


def _other(vae: Any, weights: PyTree, latents: Array, index: Array) -> OtherVAE:
    weights = jax.lax.stop_gradient(weights)
    return OtherVAE(
        lambda image: vae.encode(weights, image)[0],
        lambda latent: vae.decode(weights, latent),
        latents[index].astype(jnp.float32),
        _std(vae),
    )


def _std(vae: Any) -> Array | None:
    return None if vae.latent_std is None else jnp.asarray(vae.latent_std)


def classifier_loss(
    risk: Risk,
    *,
    num_classes: int,
    augment: Callable[[Key, Array], Array],
    vae: Any = None,
    others: tuple[Any, ...] = (),
    drawn: str = "batch",
) -> Loss:
    """A `Loss` from a `Risk`.

    Args:
      risk: from `empirical_risk`.
      num_classes: K.
      augment: `(key, image) -> image`, the recipe's crop and flip.
      vae: `models.forward.VAE` for methods that need one, else None.
      others, drawn: further VAEs; each "batch" or "example" draws one of all.

    Returns:
      A `Loss` over `fixed`: `images` uint8 `[N, H, W, C]`, `labels` int32 `[N]`; with a VAE also
      `vae` (its frozen parameters) and `latents` (`[N, ...]`, the encoder's means of `images`); with
      further VAEs also `others`, one such pair for each.
      Metrics: `accuracy`, the soft-label accuracy of the first term.
    """

    def loss(
        params: PyTree, stats: PyTree, key: Key, fixed: PyTree, index: Array
    ) -> tuple[Array, tuple[PyTree, dict[str, Array]]]:
        image = fixed["images"][index].astype(jnp.float32) / 255.0
        label = jax.nn.one_hot(fixed["labels"][index], num_classes, dtype=jnp.float32)
        draw = Draw(image, label)
        frozen = Frozen(augment=augment)
        if vae is not None:
            weights = jax.lax.stop_gradient(fixed["vae"])
            draw = draw._replace(latent=fixed["latents"][index].astype(jnp.float32))
            frozen = Frozen(
                encode=lambda image: vae.encode(weights, image)[0],
                decode=lambda latent: vae.decode(weights, latent),
                augment=augment,
                others=tuple(
                    _other(other, other_weights, latents, index)
                    for other, (other_weights, latents) in zip(
                        others, fixed.get("others", ()), strict=True
                    )
                ),
                drawn=drawn,
                latent_std=_std(vae),
            )
        out = risk(params, stats, key, draw, frozen)
        return out.loss, (out.stats, {"accuracy": out.accuracy})

    return loss
