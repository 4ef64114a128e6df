"""The distance of two images in the hidden layers of a frozen classifier.

A VAE that is trained on pixels alone spends its latent on details a classifier ignores; a distance
between features preserves what the classifier uses (Johnson et al. 2016).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jax import lax

from varmixup_jax.types import Array, PyTree

EPSILON = 1e-6  # on squares: keeps the gradient finite at a position without any activation


def stage_outputs(
    apply: Callable[..., tuple[Array, PyTree]], params: PyTree, stats: PyTree, image: Array
) -> list[Array]:
    """The outputs `[B, ..., C]` of a classifier's stages 1, 2, ..., with running statistics."""
    outputs: list[Array] = []

    def tap(stage: int, hidden: Array) -> Array:
        if stage > 0:  # 0 is the image itself
            outputs.append(hidden)
        return hidden

    apply(params, stats, image, train=False, tap=tap)
    return outputs


def feature_distance(
    apply: Callable[..., tuple[Array, PyTree]],
    params: PyTree,
    stats: PyTree,
    image: Array,
    target: Array,
) -> Array:
    r"""Mean over stages of the squared distance of features, each normalised over its channels.

    .. math::
        \frac1L \sum_{l=1}^L \operatorname{mean}_{b, h, w}
        \left\lVert \hat\phi_l(x) - \hat\phi_l(x') \right\rVert^2, \quad
        \hat\phi = \phi / \sqrt{\lVert \phi \rVert^2 + 10^{-6}}

    with phi_l(x) the output of residual stage l, and norms over the channels at each position: in
    [0, 4], and independent of the scale of a stage. It is LPIPS without its learned weights.

    Args:
      apply: the classifier, see `models.forward.as_apply`; it runs in evaluation mode.
      params, stats: of the classifier.
      image: x, float `[B, H, W, C]` in [0, 1].
      target: x', likewise.

    Returns:
      A float32 scalar.

    References:
      Johnson, Alahi, Fei-Fei, *Perceptual Losses for Real-Time Style Transfer and Super-Resolution*,
      ECCV 2016, eq. 2. Zhang, Isola, Efros, Shechtman, Wang, *The Unreasonable Effectiveness of Deep
      Features as a Perceptual Metric*, CVPR 2018, eq. 1.
    """

    def features(image: Array) -> list[Array]:
        return [_normalised(hidden) for hidden in stage_outputs(apply, params, stats, image)]

    pairs: Any = zip(features(image), features(target), strict=True)
    squares = [jnp.sum(jnp.square(one - other), axis=-1) for one, other in pairs]
    return jnp.mean(jnp.stack([jnp.mean(square) for square in squares]))


def _normalised(hidden: Array) -> Array:
    hidden = hidden.astype(jnp.float32)
    return hidden * lax.rsqrt(jnp.sum(jnp.square(hidden), axis=-1, keepdims=True) + EPSILON)
