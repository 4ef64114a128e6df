"""Pictures: reconstructions, interpolations, samples of the prior, one image under all corruptions.

Images stay pixels: tiny ones are enlarged by a whole factor (nearest neighbour), never smoothed.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from varmixup_jax.report.style import panel

TILE = 64  # pixels that an image is enlarged to, at least about
GAP = 3
COLUMNS = 8  # of a sheet of single images
MOST_IMAGES, MOST_PAIRS = 16, 8
DIMENSIONS = {
    "originals": "n H W C",
    "reconstructions": "n H W C",
    "prior_samples": "n H W C",
    "latent_grid": "pairs steps H W C",
    "pixel_grid": "pairs steps H W C",
    "corruption_sheet": "corruptions severities H W C",
}


def check_images(arrays: Mapping[str, np.ndarray], source: Path) -> None:
    """Refuses image arrays of another dtype or shape than the report can draw.

    Raises:
      ValueError: naming the file, the array and what it must be.
    """
    for name, dimensions in DIMENSIONS.items():
        if name not in arrays:
            continue
        array, rank = arrays[name], len(dimensions.split())
        good = array.dtype == np.uint8 and array.ndim == rank and array.shape[-1] in (1, 3)
        if not good or 0 in array.shape:
            raise ValueError(
                f"{source}: {name} is {array.dtype} {list(array.shape)}, "
                f"must be uint8 [{', '.join(dimensions.split())}] with 1 or 3 channels"
            )
    for first, second in (("originals", "reconstructions"), ("latent_grid", "pixel_grid")):
        if first in arrays and second in arrays and arrays[first].shape != arrays[second].shape:
            raise ValueError(
                f"{source}: {second} has shape {list(arrays[second].shape)}, "
                f"must be that of {first}, {list(arrays[first].shape)}"
            )
    for kind in ("reliability", "reliability_corrupted"):
        _check_bins(arrays, kind, source)
    if "corruption_sheet" in arrays:
        names = arrays.get("corruption_names", np.array([]))
        count = len(names) if names.ndim == 1 else 0
        if count != len(arrays["corruption_sheet"]):
            raise ValueError(
                f"{source}: corruption_names has {count} names, must have one for each of the "
                f"{len(arrays['corruption_sheet'])} rows of corruption_sheet"
            )


def _check_bins(arrays: Mapping[str, np.ndarray], kind: str, source: Path) -> None:
    names = [f"{kind}_{part}" for part in ("count", "confidence", "accuracy")]
    bins = {name: arrays[name] for name in names if name in arrays}
    for name, array in bins.items():
        first = next(iter(bins.values()))
        if array.dtype.kind not in "iuf" or array.ndim != 1 or array.shape != first.shape:
            raise ValueError(
                f"{source}: {name} is {array.dtype} {list(array.shape)}, must be numbers [bins], "
                f"as many in each of {', '.join(names)}"
            )


def psnr(images: np.ndarray, others: np.ndarray) -> float | None:
    """10 · log10(255² / mean squared difference) of uint8 images, dB; None where they are equal.

    >>> round(psnr(np.zeros((1, 2, 2, 1), np.uint8), np.full((1, 2, 2, 1), 255, np.uint8)), 6)
    0.0
    """
    error = float(np.mean((images.astype(np.float64) - others.astype(np.float64)) ** 2))
    return None if error == 0 else float(10 * np.log10(255.0**2 / error))


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
    """An RGBA image as a PNG file."""
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


def corruption_figure(images: np.ndarray, names: np.ndarray) -> Figure:
    """One image under every corruption (rows, named) at every severity (columns), for a file."""
    canvas = sheet(images)
    rows, columns = images.shape[:2]
    tall, wide = (canvas.shape[0] + GAP) / rows, (canvas.shape[1] + GAP) / columns
    with panel("One image under every corruption", height=0.8 + 0.62 * rows) as (figure, axes):
        axes.imshow(canvas, interpolation="nearest")
        labels = [str(name).replace("_", " ") for name in names]
        axes.set_yticks((np.arange(rows) + 0.5) * tall, labels)
        axes.set_xticks((np.arange(columns) + 0.5) * wide, [str(s + 1) for s in range(columns)])
        axes.set_xlabel("severity")
        axes.grid(visible=False)
        for spine in axes.spines.values():
            spine.set_visible(False)
    return figure
