"""Builds the models by name, checking their fields first."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import flax.linen as nn

from varmixup_jax import checks
from varmixup_jax.models.resnet import ResNet
from varmixup_jax.models.vae import VAE

DTYPES = ("float32", "bfloat16")
LATENTS = ("spatial", "vector")
DOWNSAMPLES = (2, 4, 8, 16)


def _post(blocks: tuple[int, ...], width: int) -> Callable[..., nn.Module]:
    return functools.partial(ResNet, blocks=blocks, width=width)


def _pre(blocks: tuple[int, ...], width: int) -> Callable[..., nn.Module]:
    return functools.partial(ResNet, blocks=blocks, width=width, preactivation=True)


def _wide(depth: int, widen: int) -> Callable[..., nn.Module]:
    return functools.partial(
        ResNet,
        blocks=((depth - 4) // 6,) * 3,
        width=16 * widen,
        stem_width=16,
        preactivation=True,
        final_norm=True,
    )


CLASSIFIERS: Mapping[str, Callable[..., nn.Module]] = MappingProxyType(
    {
        "resnet8": _post((1, 1, 1), 16),
        "resnet18": _post((2, 2, 2, 2), 64),
        "resnet34": _post((3, 4, 6, 3), 64),
        "preact_resnet8": _pre((1, 1, 1), 16),
        "preact_resnet18": _pre((2, 2, 2, 2), 64),
        "wrn10_1": _wide(10, 1),
        "wrn16_4": _wide(16, 4),
        "wrn28_4": _wide(28, 4),
        "wrn28_10": _wide(28, 10),
        "wrn40_2": _wide(40, 2),
    }
)


def build_classifier(
    name: str,
    *,
    num_classes: int,
    mean: Sequence[float],
    std: Sequence[float],
    width: int | None = None,
    dtype: str = "float32",
) -> nn.Module:
    """Returns a classifier whose `apply(variables, image, train=, tap=)` gives float32 logits.

    Args:
      name: one of CLASSIFIERS.
      num_classes: K >= 2.
      mean: per-channel mean of the pixels in [0, 1]; its length is the number of channels.
      std: per-channel standard deviation of the pixels, > 0, of the same length as `mean`.
      width: channels of the first residual stage; None for the model's own.
      dtype: "float32" or "bfloat16", of the convolutions and activations.

    Returns:
      A Linen module, see `ResNet`; it calls the tap with stages 0 to `num_stages`.

    Raises:
      ValueError: if a field is not as described.

    >>> model = build_classifier("resnet8", num_classes=10, mean=[0.5], std=[0.25], width=4)
    >>> model.num_stages
    3
    """
    checks.one_of(CLASSIFIERS, name=name)
    checks.whole(2, num_classes=num_classes)
    checks.one_of(DTYPES, dtype=dtype)
    if len(mean) != len(std) or not mean:
        raise ValueError(
            f"std: has {len(std)} channels, must have as many as mean, {len(mean)} >= 1"
        )
    for value in mean:
        checks.in_range(0.0, 1.0, mean=value)
    for value in std:
        checks.positive(std=value)
    fields = {} if width is None else {"width": width}
    if width is not None:
        checks.whole(1, width=width)
    return CLASSIFIERS[name](
        num_classes=num_classes,
        mean=tuple(float(v) for v in mean),
        std=tuple(float(v) for v in std),
        dtype=dtype,
        **fields,
    )


def build_vae(
    image_shape: Sequence[int],
    *,
    latent: str = "spatial",
    latent_size: int,
    width: int,
    blocks: int,
    downsample: int | None = None,
    dtype: str = "float32",
) -> VAE:
    """Returns a VAE with methods "encode" and "decode" and the property `latent_shape`.

    Args:
      image_shape: (H, W, C); H and W must be multiples of `downsample`.
      latent: "spatial", a grid, or "vector".
      latent_size: channels of the grid, or length of the vector, >= 1.
      width: channels at full resolution, >= 1; they double with each halving of the resolution.
      blocks: residual blocks at each resolution below the full one, >= 0.
      downsample: 2, 4, 8 or 16: the size in pixels, along each axis, of a cell of the smallest grid.
        None for 4, or 2 if an image has fewer than 16 rows or columns: 32x32 pixels have a grid of
        8x8, 28x28 of 7x7, 64x64 of 16x16 and 8x8 of 4x4.
      dtype: "float32" or "bfloat16", of the convolutions and activations.

    Returns:
      A Linen module, see `VAE`.

    Raises:
      ValueError: if a field is not as described.

    >>> build_vae((32, 32, 3), latent_size=8, width=16, blocks=1).latent_shape
    (8, 8, 8)
    >>> build_vae((28, 28, 1), latent="vector", latent_size=20, width=8, blocks=0).latent_shape
    (20,)
    """
    if len(image_shape) != 3:
        raise ValueError(f"image_shape = {tuple(image_shape)!r}: must be (H, W, C)")
    for size in image_shape:
        checks.whole(1, image_shape=size)
    checks.one_of(LATENTS, latent=latent)
    checks.whole(1, latent_size=latent_size, width=width)
    checks.whole(0, blocks=blocks)
    checks.one_of(DTYPES, dtype=dtype)
    rows, columns, channels = (int(size) for size in image_shape)
    if downsample is None:
        downsample = 4 if min(rows, columns) >= 16 else 2
    checks.one_of(DOWNSAMPLES, downsample=downsample)
    if rows % downsample or columns % downsample:
        raise ValueError(
            f"image_shape = {tuple(image_shape)!r}: rows and columns must be multiples of "
            f"downsample = {downsample}"
        )
    return VAE((rows, columns, channels), latent, latent_size, width, blocks, downsample, dtype)
