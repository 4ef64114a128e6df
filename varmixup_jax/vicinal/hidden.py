"""Vicinities in hidden layers: they leave the image as it is and act through the model's tap.

`chain(mix_hidden(...), noisy_hidden(...))` mixes and adds noise at one stage: the first draws it and
records it in `Draw.stage`. `mix_hidden` always draws a stage of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial

import jax
import jax.numpy as jnp
from jax import lax
from jax.tree_util import Partial

from varmixup_jax import checks
from varmixup_jax.types import Array, Draw, Env, Key, Tap, Vicinity
from varmixup_jax.vicinal.mixing import LAM_KINDS, dirac, draw_pairing, interpolate


def _mix_hidden(
    key: Key, env: Env, draw: Draw, *, stages: tuple[int, ...], alpha: float, lam: str
) -> Draw:
    del env
    pair_key, stage_key, _ = jax.random.split(key, 3)  # pairs as `mix` draws them
    chosen = jax.random.choice(stage_key, jnp.asarray(stages, jnp.int32))
    partners, weights = draw_pairing(pair_key, draw.label.shape[0], alpha, lam)

    tap = Partial(_mixing(stages), draw.tap, chosen, partners, weights)
    checks.labels(draw.image, draw.label)
    label = interpolate(draw.label, draw.label[partners], weights)
    return draw._replace(label=label, tap=tap, stage=chosen)


@cache  # the same function for equal stages, as `jit` compares by identity
def _mixing(stages: tuple[int, ...]) -> Callable[..., Array]:
    def tap(
        earlier: Tap, chosen: Array, partners: Array, weights: Array, stage: int, hidden: Array
    ) -> Array:
        hidden = earlier(stage, hidden)
        if stage not in stages:
            return hidden
        # Every candidate stage is traced once; weight 1 leaves all but the drawn one unchanged.
        here = jnp.where(chosen == stage, weights, jnp.ones_like(weights))
        return interpolate(hidden, hidden[partners], here)

    return tap


def mix_hidden(
    stages: tuple[int, ...] = (0, 1, 2), *, alpha: float = 2.0, lam: str = "batch"
) -> Vicinity:
    r"""Manifold Mixup: mix a hidden activation of one randomly drawn stage, and the labels with it.

    .. math::
        h_k \leftarrow \lambda h_k(x_i) + (1 - \lambda) h_k(x_j)

    with k uniform over `stages`, once per batch; stage 0 is the input, stage k the output of residual
    stage k.

    Args:
      stages: candidate stages, distinct and >= 0.
      alpha: lambda ~ Beta(alpha, alpha), >= 0.
      lam: one lambda per "batch" or per "example".

    Returns:
      A vicinity that leaves `image` as it is and sets `tap`.

    Raises:
      ValueError: empty, repeated or negative stages; alpha < 0; unknown `lam`.

    References:
      Verma et al., *Manifold Mixup*, ICML 2019, eq. 1.
    """
    stages = _stages(stages)
    checks.non_negative(alpha=alpha)
    checks.one_of(LAM_KINDS, lam=lam)
    return partial(_mix_hidden, stages=stages, alpha=alpha, lam=lam)


def add_noise(key: Key, hidden: Array, additive: float, multiplicative: float) -> Array:
    """(1 + sigma_m xi) h + sigma_a zeta, with xi and zeta standard normal, one per entry of h.

    Args:
      key: the randomness.
      hidden: floating, any shape.
      additive, multiplicative: sigma_a and sigma_m, >= 0.

    Returns:
      Like `hidden`.
    """
    scaled_key, added_key = jax.random.split(key)
    scale = 1.0 + multiplicative * jax.random.normal(scaled_key, hidden.shape, hidden.dtype)
    return scale * hidden + additive * jax.random.normal(added_key, hidden.shape, hidden.dtype)


def _noisy_hidden(
    key: Key,
    env: Env,
    draw: Draw,
    *,
    stages: tuple[int, ...],
    additive: float,
    multiplicative: float,
) -> Draw:
    del env
    stage_key, noise_key = jax.random.split(key)
    chosen = draw.stage
    if chosen is None:
        chosen = jax.random.choice(stage_key, jnp.asarray(stages, jnp.int32))

    tap = Partial(_noising(stages, additive, multiplicative), noise_key, draw.tap, chosen)
    return draw._replace(tap=tap, stage=chosen)


@cache
def _noising(
    stages: tuple[int, ...], additive: float, multiplicative: float
) -> Callable[..., Array]:
    def noise(key: Key, hidden: Array) -> Array:
        return add_noise(key, hidden, additive, multiplicative)

    def tap(noise_key: Key, earlier: Tap, chosen: Array, stage: int, hidden: Array) -> Array:
        hidden = earlier(stage, hidden)
        if stage not in stages:
            return hidden
        # A branch, not a select: drawing noise for every stage would cost three times as much.
        here = jax.random.fold_in(noise_key, stage)
        return lax.cond(chosen == stage, noise, lambda key, hidden: hidden, here, hidden)

    return tap


def noisy_hidden(
    stages: tuple[int, ...] = (0, 1, 2), *, additive: float = 0.1, multiplicative: float = 0.1
) -> Vicinity:
    r"""Noise injection: additive and multiplicative Gaussian noise on the activations of one stage.

    .. math::
        h_k \leftarrow (1 + \sigma_m \xi) h_k + \sigma_a \zeta, \quad \xi, \zeta \sim N(0, I)

    with k the stage that an earlier vicinity of the chain drew (without noise if k is not one of
    `stages`), else uniform over `stages`, once per batch.
    Stage 0 is the input in pixels, before the model normalises it, where additive noise is itself one
    of the test corruptions; the sum is not clipped. The authors' code draws the noise's size, Beta(2,
    5) times a level, once per batch, and its multiplicative noise uniformly.

    Args:
      stages: candidate stages, distinct and >= 0.
      additive: sigma_a, >= 0.
      multiplicative: sigma_m, >= 0.

    Returns:
      A vicinity that sets `tap` (`dirac` itself if both are 0).

    Raises:
      ValueError: empty, repeated or negative stages; a negative sigma.

    References:
      Lim, Erichson, Utrera, Xu, Mahoney, *Noisy Feature Mixup*, ICLR 2022.

    >>> noisy_hidden(additive=0.0, multiplicative=0.0) is dirac
    True
    """
    stages = _stages(stages)
    checks.non_negative(additive=additive, multiplicative=multiplicative)
    if additive == 0 and multiplicative == 0:
        return dirac
    return partial(_noisy_hidden, stages=stages, additive=additive, multiplicative=multiplicative)


def _stages(stages: tuple[int, ...]) -> tuple[int, ...]:
    stages = tuple(int(stage) for stage in stages)
    if not stages or min(stages) < 0 or len(set(stages)) != len(stages):
        raise ValueError(f"stages = {stages}: must be distinct whole numbers >= 0, at least one")
    return stages
