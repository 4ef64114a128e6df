"""The images that show what a VAE does: reconstructions, interpolations, samples of the prior."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from varmixup_jax import corruptions
from varmixup_jax.runs.vae_store import TrainedVAE
from varmixup_jax.types import Array, Key
from varmixup_jax.vicinal.mixing import interpolate

RECONSTRUCTIONS, PAIRS, STEPS, SAMPLES = 10, 5, 9, 20


def vae_pictures(trained: TrainedVAE, images: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    """Arrays uint8 for the pictures of a run.

    Args:
      trained: the VAE.
      images: uint8 `[N, H, W, C]`, from the test split; the first few are used.
      seed: of the prior's samples.

    Returns:
      `originals`, `reconstructions` `[n, H, W, C]`; `latent_grid`, `pixel_grid`
      `[pairs, steps, H, W, C]`, the same pairs interpolated from lambda = 0 to 1 in latent means
      and in pixels; `prior_samples` `[n, H, W, C]`.
    """
    vae, params = trained.vae, trained.params
    shown = jnp.asarray(images[: max(RECONSTRUCTIONS, 2 * PAIRS)], jnp.float32) / 255.0
    encode = jax.jit(lambda params, image: vae.encode(params, image)[0])
    decode = jax.jit(vae.decode)
    latents = encode(params, shown)
    pairs = min(PAIRS, len(shown) // 2)
    lam = jnp.linspace(0.0, 1.0, STEPS, dtype=jnp.float32)

    def grid(points: Array) -> Array:
        """`[pairs * steps, ...]`: every pair at every lambda, from the second point to the first."""
        a, b = points[0 : 2 * pairs : 2], points[1 : 2 * pairs : 2]
        return interpolate(
            jnp.repeat(a, STEPS, axis=0), jnp.repeat(b, STEPS, axis=0), jnp.tile(lam, pairs)
        )

    def folded(image: Array) -> np.ndarray:
        return _bytes(image).reshape(pairs, STEPS, *images.shape[1:])

    prior = jax.random.normal(jax.random.key(seed), (SAMPLES, *vae.latent_shape), jnp.float32)
    return {
        "originals": images[:RECONSTRUCTIONS],
        "reconstructions": _bytes(decode(params, latents))[:RECONSTRUCTIONS],
        "latent_grid": folded(decode(params, grid(latents))),
        "pixel_grid": folded(grid(shown)),
        "prior_samples": _bytes(decode(params, prior)),
    }


def corruption_sheet(
    corrupt: Callable[[str, Key, Array, int | Array], Array], image: np.ndarray
) -> dict[str, np.ndarray]:
    """One uint8 image `[H, W, C]` under all corruptions: `corruption_sheet` and its names."""
    one = jnp.asarray(image[None], jnp.float32) / 255.0
    sheet = [
        [_bytes(corrupt(name, jax.random.key(0), one, s))[0] for s in corruptions.SEVERITIES]
        for name in corruptions.NAMES
    ]
    return {"corruption_sheet": np.array(sheet), "corruption_names": np.array(corruptions.NAMES)}


def _bytes(image: Array) -> np.ndarray:
    return np.asarray(jnp.round(jnp.clip(image.astype(jnp.float32), 0.0, 1.0) * 255), np.uint8)
