"""CIFAR-style residual networks in one class: ResNet, PreActResNet and WideResNet, with a tap."""

from __future__ import annotations

import functools
from collections.abc import Callable

import flax.linen as nn
import jax.numpy as jnp

from varmixup_jax.models.conv import Conv
from varmixup_jax.models.initializers import scaled_normal
from varmixup_jax.models.norm import BatchNorm
from varmixup_jax.models.relu import relu
from varmixup_jax.types import Array, Tap, identity_tap

_HE_NORMAL = scaled_normal(2.0, "fan_out")
_LECUN_NORMAL = scaled_normal(1.0, "fan_in")


class ResNet(nn.Module):
    """A residual classifier for small images: 3x3 stem, residual stages, global mean, dense head.

    Stage k = 1, 2, ... has `blocks[k - 1]` blocks of two 3x3 convolutions with
    `width * 2 ** (k - 1)` channels; each stage but the first halves the resolution. With F two
    convolutions, each with its BatchNorm, and S the identity, or a 1x1 convolution where the shape
    changes, a block is

        post-activation (He et al. 2016a):  y = relu(S(h) + F(h))
        pre-activation  (He et al. 2016b):  y = S(h) + F(relu(BN(h)))

    where a pre-activation block whose shape changes feeds relu(BN(h)) to S too.

    Attributes:
      num_classes: K, the number of logits.
      mean: per-channel mean of the pixels, in [0, 1], subtracted inside the model.
      std: per-channel standard deviation of the pixels, > 0, divided by inside the model.
      blocks: number of residual blocks in each stage.
      width: channels of the first stage.
      stem_width: channels of the stem, None for `width`.
      preactivation: which of the two blocks above.
      final_norm: BatchNorm and ReLU after the last stage (for pre-activation networks).
      dtype: of the convolutions and activations. Parameters, BatchNorm statistics, the global mean
        and the head are always float32.
      precision: of the products in convolutions and head, as in `conv.conv2d`.

    References:
      He et al. 2016a, "Deep Residual Learning for Image Recognition", section 4.2.
      He et al. 2016b, "Identity Mappings in Deep Residual Networks", figure 4e.
      Zagoruyko and Komodakis 2016, "Wide Residual Networks", table 1.
    """

    num_classes: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    blocks: tuple[int, ...]
    width: int
    stem_width: int | None = None
    preactivation: bool = False
    final_norm: bool = False
    dtype: str = "float32"
    precision: str | None = None

    @property
    def num_stages(self) -> int:
        """Number of residual stages; the tap is called with 0, 1, ..., num_stages."""
        return len(self.blocks)

    @nn.compact
    def __call__(self, image: Array, *, train: bool = False, tap: Tap = identity_tap) -> Array:
        """Returns the logits.

        Args:
          image: float32 `[B, H, W, C]` in [0, 1].
          train: normalise with the batch's statistics and update the running ones (pass
            `mutable=["batch_stats"]` to `apply`) instead of reading the running ones.
          tap: `tap(0, image)` replaces the input pixels, before they are normalised;
            `tap(k, hidden)` replaces the output of residual stage k = 1, ..., num_stages.

        Returns:
          float32 `[B, K]`.

        Raises:
          ValueError: if the number of channels differs from that of `mean`.
        """
        if image.shape[-1] != len(self.mean):
            raise ValueError(
                f"image: has {image.shape[-1]} channels, must have {len(self.mean)} (as mean has)"
            )
        norm = functools.partial(BatchNorm, use_running_average=not train, dtype=self.dtype)
        conv = functools.partial(
            Conv,
            use_bias=False,
            dtype=self.dtype,
            precision=self.precision,
            kernel_init=_HE_NORMAL,
        )
        block = _PreActivation if self.preactivation else _PostActivation

        hidden = tap(0, image)
        hidden = _normalise(hidden, self.mean, self.std).astype(self.dtype)
        hidden = conv(self.stem_width or self.width, (3, 3), name="stem")(hidden)
        if not self.preactivation:
            hidden = norm(name="stem_norm", rectify=True)(hidden)
        for stage, count in enumerate(self.blocks, start=1):
            features = self.width * 2 ** (stage - 1)
            for index in range(count):
                stride = 2 if stage > 1 and index == 0 else 1
                name = f"stage{stage}_block{index + 1}"
                hidden = block(features, stride, conv, norm, name=name)(hidden)
            hidden = tap(stage, hidden)
        if self.final_norm:
            hidden = norm(name="final_norm", rectify=True)(hidden)
        pooled = jnp.mean(hidden, axis=(1, 2), dtype=jnp.float32)
        head = nn.Dense(
            self.num_classes, precision=self.precision, kernel_init=_LECUN_NORMAL, name="head"
        )
        return head(pooled)


class _PostActivation(nn.Module):
    features: int
    stride: int
    conv: Callable[..., nn.Module]
    norm: Callable[..., nn.Module]

    @nn.compact
    def __call__(self, hidden: Array) -> Array:
        out = self.conv(self.features, (3, 3), self.stride, name="conv1")(hidden)
        out = self.norm(name="norm1", rectify=True)(out)
        out = self.norm(name="norm2")(self.conv(self.features, (3, 3), name="conv2")(out))
        if hidden.shape != out.shape:
            hidden = self.conv(self.features, (1, 1), self.stride, name="shortcut")(hidden)
            hidden = self.norm(name="shortcut_norm")(hidden)
        return relu(out + hidden)


class _PreActivation(nn.Module):
    features: int
    stride: int
    conv: Callable[..., nn.Module]
    norm: Callable[..., nn.Module]

    @nn.compact
    def __call__(self, hidden: Array) -> Array:
        out = self.norm(name="norm1", rectify=True)(hidden)
        if self.stride != 1 or hidden.shape[-1] != self.features:
            hidden = self.conv(self.features, (1, 1), self.stride, name="shortcut")(out)
        out = self.conv(self.features, (3, 3), self.stride, name="conv1")(out)
        out = self.norm(name="norm2", rectify=True)(out)
        return hidden + self.conv(self.features, (3, 3), name="conv2")(out)


def _normalise(image: Array, mean: tuple[float, ...], std: tuple[float, ...]) -> Array:
    def channels(values: tuple[float, ...]) -> Array:
        return jnp.asarray(values, image.dtype).reshape(1, 1, 1, -1)

    return (image - channels(mean)) / channels(std)
