"""Vicinities that interpolate: in pixels, in reconstructions, in a VAE's latent means.

All follow one pattern: draw partners j = pi(i) and weights lambda ~ Beta(alpha, alpha), then

    x' = out(lambda * into(x_i) + (1 - lambda) * into(x_j)),   y' = lambda * y_i + (1 - lambda) * y_j

where a `Space` is the pair (into, out). `pixels` is Mixup (Zhang et al. 2018, eq. 1), `latents` is
VarMixup (Mangla et al. 2021): encoder means in, decoder means out.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from varmixup_jax import checks
from varmixup_jax.types import Array, Draw, Env, Key, Vicinity
from varmixup_jax.vicinal.gamma import log_gamma

LAM_KINDS = ("batch", "example")
MOST_PARTNERS = 100


class Space(NamedTuple):
    """Where interpolation happens.

    Attributes:
      into: `(key, env, draw) -> points [B, ...]`.
      out: `(key, env, draw, points) -> image [B, H, W, C]` in [0, 1].
    """

    into: Callable[[Key, Env, Draw], Array]
    out: Callable[[Key, Env, Draw, Array], Array]


def interpolate(a: Array, b: Array, lam: Array) -> Array:
    """lambda * a + (1 - lambda) * b, one weight per example, by `vmap` over (a_i, b_i, lambda_i).

    Args:
      a, b: `[B, ...]`, floating.
      lam: `[B]`, in [0, 1].

    Returns:
      `[B, ...]` in the dtype of `a`; exactly `a` where lambda is 1.

    >>> interpolate(jnp.zeros((1, 2)), jnp.ones((1, 2)), jnp.array([0.25])).tolist()
    [[0.75, 0.75]]
    """

    def one(a: Array, b: Array, lam: Array) -> Array:
        lam = lam.astype(a.dtype)
        return lam * a + (jnp.ones((), a.dtype) - lam) * b

    return jax.vmap(one)(a, b, lam)


def draw_lam(key: Key, batch: int, alpha: float, lam: str = "batch", held: int = 1) -> Array:
    """Mixing weights lambda ~ Beta(held alpha, alpha), `[B]` float32; all 1 (no mixing) for alpha = 0.

    Args:
      key: the randomness.
      batch: B.
      alpha: concentration, >= 0.
      lam: "batch" draws one weight for the whole batch (as the original implementations do),
        "example" one for each example.
      held: how many examples the side weighted by lambda already combines.

    Raises:
      ValueError: alpha < 0 or an unknown kind.
    """
    checks.non_negative(alpha=alpha)
    checks.one_of(LAM_KINDS, lam=lam)
    if alpha == 0:
        return jnp.ones((batch,), jnp.float32)
    shape = () if lam == "batch" else (batch,)
    own_key, partner_key = jax.random.split(key)
    own, partner = log_gamma(own_key, held * alpha, shape), log_gamma(partner_key, alpha, shape)
    return jnp.broadcast_to(jax.nn.sigmoid(own - partner), (batch,))


def draw_pairing(
    key: Key, batch: int, alpha: float, lam: str = "batch", held: int = 1
) -> tuple[Array, Array]:
    """Partners and weights of one batch, the same for every method given the same key.

    Returns:
      `partners` int32 `[B]`, a uniform permutation of the batch, and `lam` float32 `[B]`.
    """
    partner_key, lam_key = jax.random.split(key)
    partners = jax.random.permutation(partner_key, batch)
    return partners, draw_lam(lam_key, batch, alpha, lam, held)


def _vae(env: Env, what: str) -> tuple[Callable[[Array], Array], Callable[[Array], Array]]:
    if env.encode is None or env.decode is None:
        raise ValueError(f"env.encode, env.decode = None: {what} needs a VAE")
    return env.encode, env.decode


def _pixels_into(key: Key, env: Env, draw: Draw) -> Array:
    del key, env
    return draw.image


def _pixels_out(key: Key, env: Env, draw: Draw, points: Array) -> Array:
    del key, env, draw
    return points


def _latents_into(key: Key, env: Env, draw: Draw) -> Array:
    del key
    encode, _ = _vae(env, "the latent space")
    return encode(draw.image) if draw.latent is None else draw.latent


def _latents_out(key: Key, env: Env, draw: Draw, points: Array) -> Array:
    _, decode = _vae(env, "the latent space")
    image = decode(points)
    # A cached latent is that of the un-augmented example, so the decoded image is augmented here;
    # one encoded from `draw.image` is already that of the augmented view.
    return image if draw.latent is None else env.augment(key, image)


def _reconstructions_into(key: Key, env: Env, draw: Draw) -> Array:
    return _latents_out(key, env, draw, _latents_into(key, env, draw))


def _mixed_first_out(key: Key, env: Env, draw: Draw, points: Array) -> Array:
    del key, draw
    encode, decode = _vae(env, "the reconstruction space")
    return decode(encode(points))


pixels = Space(_pixels_into, _pixels_out)
"""Mixup: x' = lambda x_i + (1 - lambda) x_j (Zhang et al. 2018)."""

reconstructions = Space(_reconstructions_into, _pixels_out)
"""Mixup-R: x' = lambda r(x_i) + (1 - lambda) r(x_j), r(x) = D(mu(x))."""

reconstructed_mix = Space(_pixels_into, _mixed_first_out)
"""The other reading of Mixup-R: x' = r(lambda x_i + (1 - lambda) x_j)."""

latents = Space(_latents_into, _latents_out)
"""VarMixup: x' = D(lambda mu(x_i) + (1 - lambda) mu(x_j)) (Mangla et al. 2021)."""


def _noisy_out(
    key: Key, env: Env, draw: Draw, points: Array, *, space: Space, latent_noise: float
) -> Array:
    if env.latent_std is None:
        raise ValueError("env.latent_std = None: latent_noise needs the posterior's spread")
    noise_key, out_key = jax.random.split(key)
    noise = jax.random.normal(noise_key, points.shape, points.dtype)
    spread = jnp.asarray(latent_noise, points.dtype) * env.latent_std.astype(points.dtype)
    return space.out(out_key, env, draw, points + spread[None] * noise)


def noisy_latents(latent_noise: float, space: Space = latents) -> Space:
    r"""A latent space whose points are decoded with noise.

    .. math::
        x' = D(z + s\, \sigma \odot \varepsilon), \quad \varepsilon \sim N(0, I), \quad
        \sigma_d^2 = E_x \operatorname{Var} q(z_d | x)

    where z may be a mixture; the noise does not depend on its weights. Sigma is one number for each
    coordinate, not for each example, so that it is defined between examples too. With s = 1 the noise
    is, on average, what the decoder was trained with (Zhao et al. 2017: z = mu + sigma eps).

    Args:
      latent_noise: s >= 0; 0 returns `space` itself.
      space: `latents`, or another whose points are latents.

    Returns:
      A `Space`; sampling it needs `Env.latent_std`, sigma. Partners and weights are those of `space`.

    Raises:
      ValueError: s < 0; when sampled, without `Env.latent_std`.

    >>> env = Env(None, lambda x: x, lambda z: z, latent_std=jnp.full((1,), 0.1))
    >>> draw = Draw(jnp.zeros((2, 1)), jnp.eye(2))
    >>> out = mix(noisy_latents(2.0))(jax.random.key(0), env, draw).image
    >>> bool((out != 0).all() and (abs(out) < 1).all())
    True
    """
    checks.non_negative(latent_noise=latent_noise)
    if latent_noise == 0:
        return space
    return space._replace(out=partial(_noisy_out, space=space, latent_noise=latent_noise))


def dirac(key: Key, env: Env, draw: Draw) -> Draw:
    """The batch itself: empirical risk minimisation.

    >>> draw = Draw(jnp.zeros((1, 2, 2, 1)), jnp.ones((1, 1)))
    >>> dirac(jax.random.key(0), Env(logits=None), draw) is draw
    True
    """
    del key, env
    return draw


def _mix(
    key: Key, env: Env, draw: Draw, *, space: Space, alpha: float, lam: str, partners: int
) -> Draw:
    checks.floating("pixels in [0, 1]", image=draw.image)
    checks.labels(draw.image, draw.label)
    pair_key, into_key, out_key = jax.random.split(key, 3)
    points = space.into(into_key, env, draw)
    mixed, label = points, draw.label
    for held in range(1, partners + 1):
        # Beta(held alpha, alpha) between the mixture so far and one more partner: Dirichlet(alpha).
        # `held` is folded in only from 2 on, which avoids the keys that `draw_pairing` splits off.
        held_key = pair_key if held == 1 else jax.random.fold_in(pair_key, held)
        chosen, weights = draw_pairing(held_key, label.shape[0], alpha, lam, held)
        mixed = interpolate(mixed, points[chosen], weights)
        label = interpolate(label, draw.label[chosen], weights)
    image = space.out(out_key, env, draw, mixed)
    return draw._replace(image=image.astype(draw.image.dtype), label=label, latent=None)


def mix(
    space: Space = pixels, *, alpha: float = 1.0, lam: str = "batch", partners: int = 1
) -> Vicinity:
    r"""Convex combinations of each example with random partners, in a given space.

    .. math::
        x' &= \mathrm{out}(\lambda\, \mathrm{into}(x_i) + (1 - \lambda)\, \mathrm{into}(x_j)) \\
        y' &= \lambda y_i + (1 - \lambda) y_j, \quad \lambda \sim \mathrm{Beta}(\alpha, \alpha)

    with j a random permutation of the batch.

    Args:
      space: `pixels` (Mixup), `latents` (VarMixup), `reconstructions` (Mixup-R), or your own.
      alpha: lambda ~ Beta(alpha, alpha); >= 0, 0 does not mix.
      lam: one lambda per "batch" or per "example".
      partners: how many, 1 to 100; the partners + 1 weights are Dirichlet(alpha, ..., alpha), which for
        one partner is the Beta above. Every partner has its own permutation.

    Returns:
      A vicinity. The permutation of partners and lambda depend only on the key, not on the space,
      so that methods can be compared on the same draws.

    Raises:
      ValueError: `space` is not a Space, alpha < 0, unknown `lam`, `partners` out of range, or (when
        called) a space without the VAE it needs. TypeError: when called with integer images or labels.

    References:
      Zhang, Cissé, Dauphin, Lopez-Paz, *mixup*, ICLR 2018, eq. 1. Mangla, Singh, Havaldar,
      Balasubramanian, *On the Benefits of Defining Vicinal Distributions in Latent Space*, 2021.

    >>> draw = Draw(jnp.arange(2.0).reshape(2, 1, 1, 1), jnp.eye(2))
    >>> mixed = mix(pixels, alpha=1.0)(jax.random.key(0), Env(logits=None), draw)
    >>> bool(jnp.allclose(mixed.label.sum(axis=1), 1.0))
    True
    """
    if not (hasattr(space, "into") and hasattr(space, "out")):
        text = "must be a Space, such as pixels or latents"
        raise ValueError(f"space = {checks.shown(space)}: {text}")
    checks.non_negative(alpha=alpha)
    checks.one_of(LAM_KINDS, lam=lam)
    checks.whole(1, partners=partners)
    checks.in_range(1, MOST_PARTNERS, partners=partners)
    return partial(_mix, space=space, alpha=alpha, lam=lam, partners=partners)


def _chain(key: Key, env: Env, draw: Draw, *, vicinities: tuple[Vicinity, ...]) -> Draw:
    for index, vicinity in enumerate(vicinities):
        draw = vicinity(jax.random.fold_in(key, index), env, draw)
    return draw


def chain(*vicinities: Vicinity) -> Vicinity:
    """One vicinity after another: `chain(a, b)` samples b around a sample of a.

    Raises:
      ValueError: no vicinity is given, or an argument is not callable.
    """
    if not vicinities:
        raise ValueError("chain(): needs at least one vicinity")
    for vicinity in vicinities:
        if not callable(vicinity):
            raise ValueError(f"chain: {checks.shown(vicinity)}: must be a vicinity")
    return partial(_chain, vicinities=vicinities)
