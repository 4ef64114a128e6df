"""Pictures: reconstructions, interpolations, samples, one image under all corruptions.

Images stay pixelated: tiny ones are enlarged by a whole factor (nearest neighbour), never smoothed.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

TILE = 64  # approximate minimum size in pixels that an image is enlarged to
GAP = 3
COLUMNS = 8  # of a sheet of single images
MOST_IMAGES, MOST_PAIRS = 16, 8
_BINS, _POINTS = ("count", "confidence", "accuracy"), ("step", "loss", "mmd", "psnr")
KINDS = {"uint8": ("|u1",), "text": "U", "numbers": "iuf"}
# Kind and sizes of each array; sizes of one name are the same within a group, C is 1 or 3.
SHAPES: Sequence[Mapping[str, str]] = (
    {"originals": "uint8 n H W C", "reconstructions": "uint8 n H W C"},
    {"prior_samples": "uint8 n H W C"},
    {"gaussian_samples": "uint8 n H W C"},
    {"latent_grid": "uint8 pairs steps H W C", "pixel_grid": "uint8 pairs steps H W C"},
    {
        "corruption_sheet": "uint8 corruptions severities H W C",
        "corruption_original": "uint8 H W C",
        "corruption_names": "text corruptions",
    },
    {f"reliability_{part}": "numbers bins" for part in _BINS},
    {f"reliability_corrupted_{part}": "numbers bins" for part in _BINS},
    {f"vae_{part}": "numbers points" for part in _POINTS},
)
SAMPLES = {
    "prior_samples": "Decoded samples of the prior N(0, I), in which the cells of a grid latent are "
    "independent.",
    "gaussian_samples": "Decoded samples of a Gaussian fitted to the latents of the training images "
    "(full covariance).",
}


class Picture(NamedTuple):
    """An RGBA image, the name of its file, the caption below it and the ticks of its columns."""

    name: str
    caption: str
    canvas: np.ndarray
    ticks: tuple[str, ...] = ()


def check_images(arrays: Mapping[str, np.ndarray], source: Path) -> None:
    """Refuses arrays whose dtype or shape the report cannot draw.

    Raises:
      ValueError: naming the file, the array and what it must be.
    """
    for group in SHAPES:
        sizes: dict[str, int] = {}
        for name in (name for name in group if name in arrays):
            array, (kind, *named) = arrays[name], group[name].split()
            image, known = kind == "uint8", [sizes.get(size, size) for size in named]
            good = array.dtype.str in KINDS[kind] if image else array.dtype.kind in KINDS[kind]
            good = good and array.ndim == len(named)
            good = good and (not image or (array.shape[-1] in (1, 3) and 0 not in array.shape))
            pairs = zip(named, array.shape, strict=False)
            if not good or any(sizes.setdefault(*pair) != pair[1] for pair in pairs):
                raise ValueError(
                    f"{source}: {name} is {array.dtype} {list(array.shape)}, must be {kind} "
                    f"[{', '.join(map(str, known))}]{' with 1 or 3 channels' if image else ''}"
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
    """Alternating rows: up to eight originals, and below each its reconstruction."""
    both = np.stack([_in_rows(each, MOST_IMAGES) for each in (originals, reconstructions)], axis=1)
    return sheet(both.reshape(-1, *both.shape[2:]))


def sample_sheet(samples: np.ndarray) -> np.ndarray:
    """Up to 32 single images in rows of eight; an incomplete last row is left out."""
    return sheet(_in_rows(samples, 2 * MOST_IMAGES))


def _in_rows(images: np.ndarray, most: int) -> np.ndarray:
    columns = min(len(images), COLUMNS)
    rows = min(len(images), most) // columns
    return images[: rows * columns].reshape(rows, columns, *images.shape[1:])


def corruption_strips(arrays: Mapping[str, np.ndarray]) -> list[Picture]:
    """One image under every corruption: a strip for each, the uncorrupted image at its left."""
    strips: list[Picture] = []
    if not {"corruption_names", "corruption_sheet"} <= arrays.keys():
        return strips
    for name, strip in zip(arrays["corruption_names"], arrays["corruption_sheet"], strict=True):
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
