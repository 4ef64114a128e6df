"""Images that show what a VAE does (reconstructions, interpolations, samples), and its curves."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from varmixup_jax import corruptions
from varmixup_jax.atomic_files import loads
from varmixup_jax.evaluation.tally import Put, map_batches
from varmixup_jax.evaluation.views import computed_views, transformed
from varmixup_jax.models.forward import VAE
from varmixup_jax.types import Array, Key
from varmixup_jax.vicinal.mixing import interpolate

RECONSTRUCTIONS, PAIRS, STEPS, SAMPLES = 10, 5, 9, 20
CURVES = ("loss", "mmd", "psnr")  # keys of the VAE's metrics.jsonl


def vae_pictures(vae: VAE, images: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    """uint8 arrays for the pictures of a run.

    Args:
      vae: a trained VAE.
      images: uint8 `[N, H, W, C]`, from the test split; the first few are used.
      seed: of the samples.

    Returns:
      `originals`, `reconstructions` `[n, H, W, C]`; `latent_grid`, `pixel_grid`
      `[pairs, steps, H, W, C]`, the same pairs interpolated from lambda = 0 to 1 in latent means
      and in pixels; `prior_samples` `[n, H, W, C]`, decoded draws of N(0, I); and, where the VAE has
      its latents, `gaussian_samples`, decoded draws of a Gaussian fitted to them.
    """
    params = vae.params
    shown = jnp.asarray(images[: max(RECONSTRUCTIONS, 2 * PAIRS)], jnp.float32) / 255.0
    encode = jax.jit(lambda params, image: vae.encode(params, image)[0])
    latents = encode(params, shown)
    pairs = min(PAIRS, len(shown) // 2)
    lam = jnp.linspace(0.0, 1.0, STEPS, dtype=jnp.float32)

    def grid(points: Array) -> Array:
        """`[pairs * steps, ...]`: every pair at every lambda, from the second point to the first."""
        a, b = points[0 : 2 * pairs : 2], points[1 : 2 * pairs : 2]
        return interpolate(
            jnp.repeat(a, STEPS, axis=0), jnp.repeat(b, STEPS, axis=0), jnp.tile(lam, pairs)
        )

    def folded(image: np.ndarray) -> np.ndarray:
        return image.reshape(pairs, STEPS, *images.shape[1:])

    # NumPy's draws and one decoder call: JAX programs for a few pictures take seconds to compile.
    rng = np.random.default_rng(seed)
    codes = {
        "reconstructions": latents[:RECONSTRUCTIONS],
        "latent_grid": grid(latents),
        "prior_samples": rng.standard_normal((SAMPLES, *vae.latent_shape), np.float32),
    }
    if vae.latents is not None and len(vae.latents) > 1:
        codes["gaussian_samples"] = gaussian_samples(rng, vae.latents, SAMPLES)
    decoded = _bytes(jax.jit(vae.decode)(params, jnp.concatenate(list(codes.values()))))
    ends = np.cumsum([len(code) for code in codes.values()])
    parts = dict(zip(codes, np.split(decoded, ends[:-1]), strict=True))
    return {
        "originals": images[:RECONSTRUCTIONS],
        **parts,
        "latent_grid": folded(parts["latent_grid"]),
        "pixel_grid": folded(_bytes(grid(shown))),
    }


def gaussian_samples(rng: np.random.Generator, latents: np.ndarray, count: int) -> np.ndarray:
    """Draws from the Gaussian with the mean and the full sample covariance of `latents`.

    z = m + sum_i e_i (x_i - m) / sqrt(n - 1) with e_i ~ N(0, 1) has exactly this covariance, which
    need not be formed.

    Args:
      rng: of the draws.
      latents: float `[n, ...]`, n >= 2.
      count: how many draws.

    Returns:
      float32 `[count, ...]`.

    References: ex-post density estimation, Ghosh et al. 2020 (arXiv:1903.12436), section 4.
    """
    noise = rng.standard_normal((count, len(latents)), np.float32)
    noise -= noise.mean(axis=1, keepdims=True)  # the same as centring the latents
    flat = latents.reshape(len(latents), -1)
    drawn = flat.mean(axis=0) + noise @ flat / np.sqrt(np.float32(len(latents) - 1))
    return drawn.reshape(count, *latents.shape[1:]).astype(np.float32)


def vae_curves(path: Path) -> dict[str, np.ndarray]:
    """`vae_step`, `vae_loss`, `vae_mmd`, `vae_psnr` of a metrics.jsonl; {} if missing or damaged."""
    try:
        lines = [loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError):  # if the store was cleaned up, only a chart is missing
        return {}
    lines = [line for line in lines if all(name in line for name in CURVES)]
    return {f"vae_{n}": np.array([line[n] for line in lines], float) for n in ("step", *CURVES)}


def corruption_sheet(
    corrupt: Callable[[Key, str, Array, int | Array], Array],
    image: np.ndarray,
    batch_size: int,
    put: Put = jnp.asarray,
) -> dict[str, np.ndarray]:
    """One uint8 image `[H, W, C]` under all corruptions.

    Args:
      corrupt: as in `computed_views`.
      image: the image to corrupt.
      batch_size: images per call; that of an evaluation on computed views needs no new compilation.
      put: places a batch.

    Returns:
      `corruption_original`, `corruption_sheet` `[corruptions, severities, H, W, C]` and its names.
    """
    sheet = []
    for view in computed_views(corrupt, corruptions.NAMES, corruptions.SEVERITIES):
        severity = np.int32(view.severity)
        fn = partial(transformed, transform=view.transform, severity=severity)
        key = jax.random.key(0)
        sheet.append(map_batches(fn, [image[None]], batch_size=batch_size, key=key, put=put)[0])
    shape = (len(corruptions.NAMES), len(corruptions.SEVERITIES), *image.shape)
    return {
        "corruption_original": image,
        "corruption_sheet": _bytes(jnp.stack(sheet)).reshape(shape),
        "corruption_names": np.array(corruptions.NAMES),
    }


def _bytes(image: Array) -> np.ndarray:
    return np.asarray(jnp.round(jnp.clip(image.astype(jnp.float32), 0.0, 1.0) * 255), np.uint8)
