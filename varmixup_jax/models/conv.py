"""A convolution whose gradients are as fast inside a loop as outside it, also on a CPU.

XLA's CPU compiler rewrites convolutions into the form that its fast kernel takes (NHWC image, HWIO
kernel, NHWC output) in the outermost computation only. The gradients that JAX derives have other
forms, so inside `scan`, `fori_loop`, `while_loop`, `map` or `cond` they run as a naive loop, up to
64 times slower (jax issue 12868). Here both gradients are written in the fast form from the start.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax.typing import Initializer
from jax import lax

from varmixup_jax import checks
from varmixup_jax.models.initializers import scaled_normal
from varmixup_jax.models.replicated import vary_like
from varmixup_jax.types import Array

Pair = tuple[int, int]
Padding = tuple[Pair, Pair]

_LAYOUT = ("NHWC", "HWIO", "NHWC")
# Images per convolution in the weight gradient: on CPUs, larger chunks do not fit the cache.
_CHUNK = 8


def conv2d(
    image: Array,
    kernel: Array,
    *,
    strides: Pair = (1, 1),
    padding: Padding = ((0, 0), (0, 0)),
    gradients: Literal["auto", "xla", "loop_safe"] = "auto",
    precision: str | None = None,
) -> Array:
    """Cross-correlates images with a kernel.

        out[b, y, x, o] = sum_{i, j, c} image[b, s y + i - p, t x + j - q, c] kernel[i, j, c, o]

    with (s, t) the strides, (p, q) the leading padding, and zeros outside the image.

    Args:
      image: `[B, H, W, C]`, floating.
      kernel: `[kh, kw, C, O]`, of the same dtype.
      strides: of rows and columns, >= 1.
      padding: zeros before and after, of rows and of columns, >= 0 and < the kernel's size.
      gradients: "xla" leaves the derivatives to JAX (the fast choice on GPU and TPU), "loop_safe"
        uses those of this module (reverse mode only), "auto" chooses by the default backend.
      precision: of the products, forward and backward, in JAX's terms: "highest" is float32 even
        where the hardware would round to fewer bits; None for JAX's default.

    Returns:
      `[B, H', W', O]` of the same dtype, H' = (H + p + p' - kh) // s + 1.

    Raises:
      ValueError: if a field is not as described.

    >>> conv2d(jnp.ones((1, 5, 5, 2)), jnp.ones((3, 3, 2, 4)), strides=(2, 2)).shape
    (1, 2, 2, 4)
    """
    checks.one_of(("auto", "xla", "loop_safe"), gradients=gradients)
    for stride in strides:
        checks.whole(1, strides=stride)
    for size, (before, after) in zip(kernel.shape, padding, strict=False):
        checks.in_range(0, size - 1, padding=before)
        checks.in_range(0, size - 1, padding=after)
    if gradients == "auto":
        gradients = "loop_safe" if jax.default_backend() == "cpu" else "xla"
    if gradients == "xla":
        return _correlate(image, kernel, padding, precision, strides=strides)
    taps = kernel.shape[0] * kernel.shape[1]
    sizes = [
        (size + sum(pads) - k) // stride + 1
        for size, k, stride, pads in zip(
            image.shape[1:3], kernel.shape, strides, padding, strict=False
        )
    ]
    if taps > image.shape[1] * image.shape[2] or taps > math.prod(sizes):
        return _as_matrix_product(image, kernel, sizes, strides, padding, precision)
    kernel = vary_like(kernel, image)
    pads = tuple(tuple(p) for p in padding)
    return _loop_safe(image, kernel, tuple(strides), pads, precision)


def _correlate(
    image: Array,
    kernel: Array,
    padding: Padding,
    precision: str | None,
    *,
    strides: Pair = (1, 1),
    spread: Pair = (1, 1),
    holes: Pair = (1, 1),
) -> Array:
    """The only convolution form used here; `spread` and `holes` dilate image and kernel."""
    return lax.conv_general_dilated(
        image,
        kernel,
        strides,
        padding,
        lhs_dilation=spread,
        rhs_dilation=holes,
        dimension_numbers=_LAYOUT,
        precision=precision,
    )


def _as_matrix_product(
    image: Array,
    kernel: Array,
    sizes: Sequence[int],
    strides: Pair,
    padding: Padding,
    precision: str | None,
) -> Array:
    """The same sum as one matrix product, for maps smaller than the kernel.

    There XLA would swap image and kernel, which is not the fast form either. `reach[h, y, i]` is
    1 where output row y reads input row h through tap i: h = s y + i - p.
    """
    reaches = []
    for axis in range(2):
        rows = np.arange(image.shape[1 + axis])[:, None, None] + padding[axis][0]
        taps = np.arange(kernel.shape[axis])
        reach = rows == strides[axis] * np.arange(sizes[axis])[:, None] + taps
        reaches.append(jnp.asarray(reach, kernel.dtype))
    matrix = jnp.einsum("hyi,wxj,ijco->hwcyxo", *reaches, kernel, precision=precision)
    return jnp.einsum("bhwc,hwcyxo->byxo", image, matrix, precision=precision)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4))
def _loop_safe(
    image: Array, kernel: Array, strides: Pair, padding: Padding, precision: str | None
) -> Array:
    return _correlate(image, kernel, padding, precision, strides=strides)


def _forward(image: Array, kernel: Array, strides: Pair, padding: Padding, precision: str | None):
    return _loop_safe(image, kernel, strides, padding, precision), (image, kernel)


def _backward(
    strides: Pair,
    padding: Padding,
    precision: str | None,
    saved: tuple[Array, Array],
    cotangent: Array,
):
    # Two separate results: a caller that needs only the image's gradient pays for that alone.
    image, kernel = saved
    return (
        _image_gradient(cotangent, kernel, image.shape, strides, padding, precision),
        _kernel_gradient(image, cotangent, kernel.shape, strides, padding, precision),
    )


_loop_safe.defvjp(_forward, _backward)


def _image_gradient(
    cotangent: Array,
    kernel: Array,
    shape: Sequence[int],
    strides: Pair,
    padding: Padding,
    precision: str | None,
) -> Array:
    """Correlates the cotangent, dilated by the stride, with the flipped kernel."""
    turned = jnp.flip(kernel, (0, 1)).swapaxes(2, 3)
    pads = []
    for axis in range(2):
        size, taps, stride = shape[1 + axis], kernel.shape[axis], strides[axis]
        before = taps - 1 - padding[axis][0]
        spread_size = (cotangent.shape[1 + axis] - 1) * stride + 1
        # Rows at the end that no window covers have zero gradient.
        pads.append((before, size + taps - 1 - before - spread_size))
    return _correlate(cotangent, turned, (pads[0], pads[1]), precision, spread=strides)


def _kernel_gradient(
    image: Array,
    cotangent: Array,
    shape: Sequence[int],
    strides: Pair,
    padding: Padding,
    precision: str | None,
) -> Array:
    """Correlates the image with the cotangent, with channels and batch swapped."""
    pads = []
    for axis in range(2):
        before = padding[axis][0]
        covered = (cotangent.shape[1 + axis] - 1) * strides[axis] + shape[axis]
        pads.append((before, covered - before - image.shape[1 + axis]))

    def part(images: Array, cotangents: Array) -> Array:
        images, cotangents = images.transpose(3, 1, 2, 0), cotangents.transpose(1, 2, 0, 3)
        return _correlate(images, cotangents, (pads[0], pads[1]), precision, holes=strides)

    batch = image.shape[0]
    if batch <= _CHUNK:
        return part(image, cotangent).transpose(1, 2, 0, 3)

    def add(index: Array, total: Array) -> Array:
        pair = [lax.dynamic_slice_in_dim(a, index * _CHUNK, _CHUNK) for a in (image, cotangent)]
        return total + part(*pair).astype(jnp.float32)

    total = jnp.zeros((shape[2], *shape[:2], shape[3]), jnp.float32)
    total = vary_like(total, image.astype(jnp.float32))
    whole, rest = divmod(batch, _CHUNK)
    total = lax.fori_loop(0, whole, add, total)
    if rest:
        total = total + part(image[-rest:], cotangent[-rest:]).astype(jnp.float32)
    return total.astype(image.dtype).transpose(1, 2, 0, 3)


class Conv(nn.Module):
    """A 2-D convolution with the parameters (and their names) of `nn.Conv`.

    The padding is `(k - 1) // 2` zeros on each side: the size is kept at stride 1, and a 3x3 kernel
    of stride 2 pads (1, 1) as PyTorch's networks do (Flax's "SAME" pads (0, 1) on even sizes).

    Attributes:
      features: output channels.
      kernel_size: rows and columns of the kernel, odd.
      stride: of both axes.
      use_bias: whether to add a bias per output channel.
      dtype: of the computation; the parameters are float32.
      precision: of the products, as in `conv2d`.
      kernel_init: initialiser of the kernel; biases start at 0.
    """

    features: int
    kernel_size: Pair
    stride: int = 1
    use_bias: bool = True
    dtype: str = "float32"
    precision: str | None = None
    kernel_init: Initializer = scaled_normal(1.0, "fan_in")

    @nn.compact
    def __call__(self, image: Array) -> Array:
        """Maps `[B, H, W, C]` to `[B, ceil(H / stride), ceil(W / stride), features]`."""
        shape = (*self.kernel_size, image.shape[-1], self.features)
        kernel = self.param("kernel", self.kernel_init, shape, jnp.float32)
        rows, columns = (((k - 1) // 2, (k - 1) // 2) for k in self.kernel_size)
        out = conv2d(
            image.astype(self.dtype),
            kernel.astype(self.dtype),
            strides=(self.stride, self.stride),
            padding=(rows, columns),
            precision=self.precision,
        )
        if self.use_bias:
            bias = self.param("bias", nn.initializers.zeros_init(), (self.features,), jnp.float32)
            out = out + bias.astype(self.dtype).reshape(1, 1, 1, -1)
        return out
