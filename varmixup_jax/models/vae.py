"""The networks of the MMD-VAE: a residual convolutional encoder and decoder with GroupNorm."""

from __future__ import annotations

import functools
import math

import flax.linen as nn
import jax
import jax.numpy as jnp

from varmixup_jax.models.conv import Conv
from varmixup_jax.models.group_norm import GroupNormSilu
from varmixup_jax.models.initializers import scaled_normal
from varmixup_jax.types import Array

LOG_STD_RANGE = (-6.0, 2.0)
_GROUPS = 8
_LECUN_NORMAL = scaled_normal(1.0, "fan_in")


class VAE(nn.Module):
    """Encoder q(z|x) and decoder E p(x|z) for images of any size divisible by `downsample`.

    Encoder: a 3x3 convolution to `width` channels; then, for each halving of the resolution, a 3x3
    convolution of stride 2 that doubles the channels, and `blocks` residual blocks. Decoder: the
    mirror image, where a doubling of the resolution is a 3x3 convolution to four times the channels
    and a depth-to-space rearrangement (Shi et al. 2016), with a sigmoid for the pixels. GroupNorm
    instead of BatchNorm: a frozen VAE has no training mode and examples do not depend on the rest of
    the batch.

    The latent is a grid `[H / downsample, W / downsample, latent_size]` ("spatial": two latents are
    mixed cell by cell) or a vector `[latent_size]`. The log standard deviation stays within
    LOG_STD_RANGE by `log_std = centre + reach * tanh((raw - centre) / reach)`, which unlike clipping
    has a gradient everywhere.

    Attributes:
      image_shape: (H, W, C).
      latent: "spatial" or "vector".
      latent_size: channels of the spatial latent, or length of the vector.
      width: channels at full resolution.
      blocks: residual blocks at each resolution below the full one, >= 0.
      downsample: size of a cell of the smallest grid along each axis, in pixels, a power of two.
      dtype: of the convolutions and activations. Parameters, means, log standard deviations and
        decoded images are always float32.

    References:
      Zhao, Song, Ermon 2017, "InfoVAE: Information Maximizing Variational Autoencoders".
      Shi et al. 2016, "Real-Time Single Image and Video Super-Resolution Using an Efficient
        Sub-Pixel Convolutional Neural Network", equation 4.
    """

    image_shape: tuple[int, int, int]
    latent: str
    latent_size: int
    width: int
    blocks: int
    downsample: int
    dtype: str = "float32"

    @property
    def grid_shape(self) -> tuple[int, int]:
        """Rows and columns of the smallest grid."""
        return self.image_shape[0] // self.downsample, self.image_shape[1] // self.downsample

    @property
    def latent_shape(self) -> tuple[int, ...]:
        """Shape of one example's latent: `(h, w, latent_size)` or `(latent_size,)`."""
        grid = self.grid_shape if self.latent == "spatial" else ()
        return (*grid, self.latent_size)

    def setup(self) -> None:
        levels = self.downsample.bit_length() - 1
        widths = tuple(self.width * 2**level for level in range(levels + 1))
        self.encoder = _Encoder(widths, self.blocks, self.latent, self.latent_size, self.dtype)
        self.decoder = _Decoder(widths, self.blocks, self.image_shape[-1], self.dtype)
        if self.latent == "vector":
            rows, columns = self.grid_shape
            self.unflatten = nn.Dense(
                rows * columns * widths[-1], dtype=self.dtype, kernel_init=_LECUN_NORMAL
            )

    def __call__(self, image: Array) -> Array:
        """The reconstruction, the decoder's mean at the encoder's mean: `[B, H, W, C]` in [0, 1]."""
        return self.decode(self.encode(image)[0])

    def encode(self, image: Array) -> tuple[Array, Array]:
        """Returns the mean and the log standard deviation of q(z|x).

        Args:
          image: float32 `[B, H, W, C]` in [0, 1].

        Returns:
          Two float32 arrays `[B, *latent_shape]`; the second lies within LOG_STD_RANGE.

        Raises:
          ValueError: if the image is not of `image_shape`.
        """
        if image.shape[1:] != tuple(self.image_shape):
            wanted = ", ".join(str(size) for size in self.image_shape)
            raise ValueError(f"image: has shape {image.shape}, must be [B, {wanted}]")
        mean, raw = jnp.split(self.encoder(image).astype(jnp.float32), 2, axis=-1)
        low, high = LOG_STD_RANGE
        centre, reach = (low + high) / 2, (high - low) / 2
        return mean, centre + reach * jnp.tanh((raw - centre) / reach)

    def decode(self, latent: Array) -> Array:
        """Returns the mean of p(x|z).

        Args:
          latent: float32 `[B, *latent_shape]`.

        Returns:
          float32 `[B, H, W, C]` in [0, 1].

        Raises:
          ValueError: if the latent is not of `latent_shape`.
        """
        if latent.shape[1:] != self.latent_shape:
            wanted = ", ".join(str(size) for size in self.latent_shape)
            raise ValueError(f"latent: has shape {latent.shape}, must be [B, {wanted}]")
        hidden = latent.astype(self.dtype)
        if self.latent == "vector":
            hidden = self.unflatten(hidden).reshape(latent.shape[0], *self.grid_shape, -1)
        return jax.nn.sigmoid(self.decoder(hidden).astype(jnp.float32))


class _Encoder(nn.Module):
    """`[B, H, W, C]` in [0, 1] to `[B, h, w, 2 latent_size]` or `[B, 2 latent_size]`."""

    widths: tuple[int, ...]
    blocks: int
    latent: str
    latent_size: int
    dtype: str

    @nn.compact
    def __call__(self, image: Array) -> Array:
        conv = functools.partial(Conv, dtype=self.dtype, kernel_init=_LECUN_NORMAL)
        hidden = conv(self.widths[0], (3, 3), name="stem")(2.0 * image - 1.0)
        for level, features in enumerate(self.widths[1:], start=1):
            hidden = conv(features, (3, 3), stride=2, name=f"down{level}")(hidden)
            for index in range(self.blocks):
                hidden = _Residual(self.dtype, name=f"level{level}_block{index + 1}")(hidden)
        hidden = _norm_silu(hidden, self.dtype, "norm")
        if self.latent == "spatial":
            return conv(2 * self.latent_size, (3, 3), name="out")(hidden)
        hidden = hidden.reshape(hidden.shape[0], -1)
        return nn.Dense(
            2 * self.latent_size, dtype=self.dtype, kernel_init=_LECUN_NORMAL, name="out"
        )(hidden)


class _Decoder(nn.Module):
    """`[B, h, w, c]` to the logits of the pixels, `[B, H, W, C]`."""

    widths: tuple[int, ...]
    blocks: int
    channels: int
    dtype: str

    @nn.compact
    def __call__(self, hidden: Array) -> Array:
        conv = functools.partial(Conv, dtype=self.dtype, kernel_init=_LECUN_NORMAL)
        hidden = conv(self.widths[-1], (3, 3), name="stem")(hidden)
        for level in range(len(self.widths) - 1, 0, -1):
            for index in range(self.blocks):
                hidden = _Residual(self.dtype, name=f"level{level}_block{index + 1}")(hidden)
            hidden = conv(4 * self.widths[level - 1], (3, 3), name=f"up{level}")(hidden)
            hidden = depth_to_space(hidden)
        hidden = _norm_silu(hidden, self.dtype, "norm")
        return conv(self.channels, (3, 3), name="out")(hidden)


class _Residual(nn.Module):
    dtype: str

    @nn.compact
    def __call__(self, hidden: Array) -> Array:
        conv = functools.partial(
            Conv, hidden.shape[-1], (3, 3), dtype=self.dtype, kernel_init=_LECUN_NORMAL
        )
        out = conv(name="conv1")(_norm_silu(hidden, self.dtype, "norm1"))
        out = conv(name="conv2")(_norm_silu(out, self.dtype, "norm2"))
        return hidden + out


def _norm_silu(hidden: Array, dtype: str, name: str) -> Array:
    groups = math.gcd(_GROUPS, hidden.shape[-1])
    return GroupNormSilu(groups, dtype=dtype, name=name)(hidden)


def depth_to_space(hidden: Array) -> Array:
    """Rearranges `[B, h, w, 4 c]` to `[B, 2 h, 2 w, c]`, four channels to each 2x2 square.

    >>> depth_to_space(jnp.arange(4).reshape(1, 1, 1, 4))[0, :, :, 0]
    Array([[0, 1],
           [2, 3]], dtype=int32)
    """
    batch, rows, columns, depth = hidden.shape
    hidden = hidden.reshape(batch, rows, columns, 2, 2, depth // 4)
    return hidden.transpose(0, 1, 3, 2, 4, 5).reshape(batch, 2 * rows, 2 * columns, depth // 4)
