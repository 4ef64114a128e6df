"""Vicinities over several frozen VAEs, of which each batch or each example draws one.

A sharp VAE and a blurry one protect against different corruptions; drawn at random, against both.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from varmixup_jax.types import Array, Draw, Env, Key, Vicinity

DRAWN = ("batch", "example")


class OtherVAE(NamedTuple):
    """A further frozen VAE, like the first in `Env`: pure closures, and what is cached of a batch.

    Attributes:
      encode: `image [B, H, W, C] -> latent [B, ...]`, of its own shape.
      decode: `latent -> image`.
      latent: the means of the batch's un-augmented examples, or None.
      latent_std: as in `Env`.
    """

    encode: Callable[[Array], Array]
    decode: Callable[[Array], Array]
    latent: Array | None = None
    latent_std: Array | None = None


def sample_over(
    key: Key,
    vicinity: Vicinity,
    env: Env,
    draw: Draw,
    others: tuple[OtherVAE, ...],
    which: Array,
) -> Draw:
    """One sample of a vicinity, over the VAE that was drawn.

    A vicinity that decodes nothing is sampled as it is. Others are sampled with the same key over
    each VAE, so that partners and weights do not depend on which VAE it is.

    Args:
      key: of the sample.
      vicinity: the vicinity to sample.
      env: with VAE 0.
      draw: the batch, with what VAE 0 has cached of it.
      others: VAEs 1, 2, ...
      which: int32 `[]`, one VAE for the batch: only that one is computed; or `[B]`, one for each
        example: all are.

    Raises:
      ValueError: the vicinity mixes hidden activations too, which cannot be selected.
    """
    if not others or env.encode is None or env.decode is None:
        return vicinity(key, env, draw)
    decoded, decode = [], env.decode

    def noted(latent: Array) -> Array:
        decoded.append(True)
        return decode(latent)

    first = vicinity(jax.random.clone(key), env._replace(decode=noted), draw)
    if not decoded:
        return first
    if first.tap is not draw.tap:
        raise ValueError("others: a vicinity that mixes hidden activations takes one VAE")

    def over(vae: OtherVAE) -> tuple[Array, Array]:
        out = vicinity(
            jax.random.clone(key),
            env._replace(encode=vae.encode, decode=vae.decode, latent_std=vae.latent_std),
            draw._replace(latent=vae.latent),
        )
        return out.image, out.label

    vaes = (OtherVAE(env.encode, decode, draw.latent, env.latent_std), *others)
    if which.ndim == 0:
        image, label = jax.lax.switch(which, [partial(over, vae) for vae in vaes])
    else:
        image, label = jnp.zeros_like(first.image), jnp.zeros_like(first.label)
        for index, vae in enumerate(vaes):
            its_image, its_label = over(vae)
            image = jnp.where((which == index)[:, None, None, None], its_image, image)
            label = jnp.where((which == index)[:, None], its_label, label)
    return first._replace(image=image, label=label)
