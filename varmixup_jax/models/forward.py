"""Linen modules as the pure functions that everything outside `models` takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import flax.linen as nn
import numpy as np

from varmixup_jax.types import Array, PyTree, Tap, identity_tap

MEASURED_IN = "float32, highest"
"""Dtype and precision of `for_measures`, as runs record it."""


def for_measures(module: nn.Module) -> nn.Module:
    """The classifier as it is measured, whatever its training dtype.

    It computes in float32, with products of the highest precision. In bfloat16 the local linearity
    error of a ResNet-8 on digits is 13 % too large at 2/255, with a floor of 6e-4 for small radii.
    """
    return module.clone(dtype="float32", precision="highest")


def as_apply(module: nn.Module) -> Callable[..., tuple[Array, PyTree]]:
    """A classifier module as `apply(params, stats, image, *, train, tap) -> (logits, stats)`.

    Args:
      module: called as `module(image, train=..., tap=...)`, with BatchNorm statistics (if any) in
        the "batch_stats" collection.

    Returns:
      A pure function; `stats` come back updated for `train=True` and as given for `train=False`.
    """

    def apply(
        params: PyTree, stats: PyTree, image: Array, *, train: bool = False, tap: Tap = identity_tap
    ) -> tuple[Array, PyTree]:
        variables = {"params": params, "batch_stats": stats} if stats else {"params": params}
        if not train:
            evaluated: Any = module.apply(variables, image, train=False, tap=tap)
            return evaluated, stats
        logits, updated = module.apply(
            variables, image, train=True, tap=tap, mutable=["batch_stats"]
        )
        return logits, updated.get("batch_stats", {})

    return apply


Encode = Callable[[PyTree, Array], tuple[Array, Array]]
Decode = Callable[[PyTree, Array], Array]


class VAE(NamedTuple):
    """A VAE: its network as pure functions of the parameters, and the results of its training.

    Attributes:
      encode: `(params, image [B, H, W, C]) -> (mean, log_std)`, each `[B, *latent_shape]`.
      decode: `(params, latent) -> image [B, H, W, C]` in [0, 1].
      latent_shape: shape of one latent.
      network: the module behind the functions.
      params: their parameters, frozen; None before training, like all that follows.
      latents: float32 `[N, *latent_shape]`, the encoder's means of the training images.
      info: what a run records of it: key, kind, psnr (dB, test split), wall_seconds, config; and
        `others`, if there are any, the same for each.
      others: further VAEs that samples are drawn over.
      latent_std: float32 `[*latent_shape]`, root mean square over training images of the standard
        deviation of q(z|x); None if no method needs it.
    """

    encode: Encode
    decode: Decode
    latent_shape: tuple[int, ...]
    network: nn.Module | None = None
    params: PyTree = None
    latents: np.ndarray | None = None
    info: Mapping[str, Any] = MappingProxyType({})
    others: tuple[VAE, ...] = ()
    latent_std: np.ndarray | None = None


def as_vae(module: nn.Module) -> VAE:
    """A VAE module with methods `encode` and `decode` as a `VAE` without parameters."""

    def encode(params: PyTree, image: Array) -> tuple[Array, Array]:
        moments: Any = module.apply({"params": params}, image, method="encode")
        return moments

    def decode(params: PyTree, latent: Array) -> Array:
        image: Any = module.apply({"params": params}, latent, method="decode")
        return image

    return VAE(encode, decode, tuple(module.latent_shape), module)
