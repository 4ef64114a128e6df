"""Pictures: reconstructions, interpolations, samples, one image under all corruptions.

Images stay pixels: tiny ones are enlarged by a whole factor (nearest neighbour), never smoothed.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

TILE = 64  # pixels that an image is enlarged to, at least about
GAP = 3
COLUMNS = 8  # of a sheet of single images
MOST_IMAGES, MOST_PAIRS = 16, 8
DIMENSIONS = {
    "originals": "n H W C",
    "reconstructions": "n H W C",
    "prior_samples": "n H W C",
    "gaussian_samples": "n H W C",
    "latent_grid": "pairs steps H W C",
    "pixel_grid": "pairs steps H W C",
    "corruption_original": "H W C",
    "corruption_sheet": "corruptions severities H W C",
}
BINS = ("count", "confidence", "accuracy")
SAMPLES = {
    "prior_samples": "Decoded samples of the prior N(0, I), in which the cells of a grid latent are "
    "independent.",
    "gaussian_samples": "Decoded samples of a Gaussian fitted to the latents of the training images "
    "(full covariance).",
}
CURVES = ("step", "loss", "mmd", "psnr")


class Picture(NamedTuple):
    """An RGBA image, the name of its file, the caption below it and the ticks of its columns."""

    name: str
    caption: str
    canvas: np.ndarray
    ticks: tuple[str, ...] = ()


def check_images(arrays: Mapping[str, np.ndarray], source: Path) -> None:
    """Refuses arrays of another dtype or shape than the report can draw.

    Raises:
      ValueError: naming the file, the array and what it must be.
    """
    for name, dimensions in DIMENSIONS.items():
        array = arrays.get(name, np.zeros([1] * len(dimensions.split()), np.uint8))
        good = array.dtype == np.uint8 and array.ndim == len(dimensions.split())
        if not good or array.shape[-1] not in (1, 3) or 0 in array.shape:
            raise ValueError(
                f"{source}: {name} is {array.dtype} {list(array.shape)}, "
                f"must be uint8 [{', '.join(dimensions.split())}] with 1 or 3 channels"
            )
    rows, names = arrays.get("corruption_sheet", ()), arrays.get("corruption_names", np.empty(0))
    count = len(names) if names.ndim == 1 else 0
    if len(rows) and count != len(rows):
        raise ValueError(
            f"{source}: corruption_names has {count} names, must have one for each of the "
            f"{len(rows)} rows of corruption_sheet"
        )
    twins = {
        "reconstructions": ("originals", slice(None)),
        "pixel_grid": ("latent_grid", slice(None)),
        "corruption_original": ("corruption_sheet", slice(2, None)),
    }
    for name, (first, part) in twins.items():
        if first in arrays and name in arrays and arrays[first].shape[part] != arrays[name].shape:
            raise ValueError(
                f"{source}: {name} has shape {list(arrays[name].shape)}, "
                f"must be that of {first}, {list(arrays[first].shape[part])}"
            )
    for kind, parts in {"reliability": BINS, "reliability_corrupted": BINS, "vae": CURVES}.items():
        series = {n: arrays[n] for n in (f"{kind}_{part}" for part in parts) if n in arrays}
        for name, array in series.items():
            shape = next(iter(series.values())).shape
            if array.dtype.kind not in "iuf" or array.ndim != 1 or array.shape != shape:
                raise ValueError(
                    f"{source}: {name} is {array.dtype} {list(array.shape)}, must be numbers [n], "
                    f"as many in each of {', '.join(series)}"
                )


def vae_pictures(arrays: Mapping[str, np.ndarray], psnr: object = None) -> list[Picture]:
    """What a VAE does: reconstructions, mixing of latents and of pixels, samples."""
    shown = []
    if {"originals", "reconstructions"} <= set(arrays):
        first, second = arrays["originals"], arrays["reconstructions"]
        caption = "Originals (upper rows) and reconstructions (below each)."
        if isinstance(psnr, (int, float)):
            caption += f" PSNR of the VAE: {psnr:.1f} dB."
        error = np.mean((first.astype(np.float64) - second.astype(np.float64)) ** 2)
        if error > 0:
            here = 10 * np.log10(255.0**2 / error)
            caption += f" Of the {len(first)} images recorded here: {here:.1f} dB."
        shown.append(Picture("reconstructions", caption, reconstruction_sheet(first, second)))
    for name, caption in SAMPLES.items():
        if name in arrays:
            shown.append(Picture(name, caption, sample_sheet(arrays[name])))
    for name, what in (("latent_grid", "latents, decoded"), ("pixel_grid", "pixels")):
        if name in arrays:
            caption = f"Mixing of {what}: one pair per row, λ from 0 (left) to 1 (right)."
            grid = arrays[name][:MOST_PAIRS]
            ticks = tuple(f"{lam:.3g}" for lam in np.linspace(0, 1, grid.shape[1]))
            shown.append(Picture(name, caption, sheet(grid), ticks))
    return shown


def sheet(images: np.ndarray) -> np.ndarray:
    """Lays out `[rows, columns, H, W, C]` as one RGBA image with transparent gaps.

    Args:
      images: uint8, C of 1 or 3.

    Returns:
      uint8 `[height, width, 4]`.
    """
    rows, columns, height, width, channels = images.shape
    factor = max(1, round(TILE / height))
    images = images.repeat(factor, axis=2).repeat(factor, axis=3)
    if channels == 1:
        images = images.repeat(3, axis=-1)
    tall, wide = factor * height + GAP, factor * width + GAP
    canvas = np.zeros((rows, columns, tall, wide, 4), np.uint8)
    canvas[:, :, : factor * height, : factor * width, :3] = images
    canvas[:, :, : factor * height, : factor * width, 3] = 255
    canvas = canvas.transpose(0, 2, 1, 3, 4).reshape(rows * tall, columns * wide, 4)
    return canvas[:-GAP, :-GAP]


def encode(canvas: np.ndarray) -> bytes:
    """An RGB or RGBA image as a PNG file."""
    target = io.BytesIO()
    Image.fromarray(canvas).save(target, format="PNG", optimize=True)
    return target.getvalue()


def reconstruction_sheet(originals: np.ndarray, reconstructions: np.ndarray) -> np.ndarray:
    """Rows in turn: up to eight originals, and below each its reconstruction."""
    count = min(len(originals), MOST_IMAGES)
    columns = min(count, COLUMNS)
    count -= count % columns
    blocks = []
    for start in range(0, count, columns):
        blocks += [originals[start : start + columns], reconstructions[start : start + columns]]
    return sheet(np.stack(blocks))


def sample_sheet(samples: np.ndarray) -> np.ndarray:
    """Up to 32 single images in rows of eight; an incomplete last row is left out."""
    columns = min(len(samples), COLUMNS)
    rows = min(len(samples), 2 * MOST_IMAGES) // columns
    return sheet(samples[: rows * columns].reshape(rows, columns, *samples.shape[1:]))


def corruption_strips(arrays: Mapping[str, np.ndarray]) -> list[Picture]:
    """One image under every corruption: a strip for each, the uncorrupted image at its left."""
    strips = []
    for name, strip in zip(
        arrays.get("corruption_names", ()), arrays.get("corruption_sheet", ()), strict=True
    ):
        ticks = [str(severity + 1) for severity in range(len(strip))]
        if "corruption_original" in arrays:
            strip, ticks = np.stack([arrays["corruption_original"], *strip]), ["0", *ticks]
        strips.append(
            Picture("strip", str(name).replace("_", " "), sheet(strip[None]), tuple(ticks))
        )
    return strips


def stacked(canvases: Sequence[np.ndarray]) -> np.ndarray:
    """Sheets of one width below one another, with the gap of a sheet between them."""
    padded = [np.pad(canvas, ((0, GAP), (0, 0), (0, 0))) for canvas in canvases]
    return np.concatenate(padded)[:-GAP]
