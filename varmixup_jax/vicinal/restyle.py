"""Style in a VAE's latent space: each example decoded with the latent statistics of others.

With z = mu(x) on a grid, m and s its mean and standard deviation over the grid per channel, and j a
random partner,

    z' = (1 - a) z + a ((z - m) / s * s_j + m_j),   x' = D(z'),   y' = y

which is AdaIN (Huang and Belongie 2017, eq. 8) in the latent space of VarMixup's VAE, where style
transfer uses a pretrained network and a set of style images.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import jax
import jax.numpy as jnp

from varmixup_jax import checks
from varmixup_jax.types import Array, Draw, Env, Key, Vicinity
from varmixup_jax.vicinal.gamma import log_gamma
from varmixup_jax.vicinal.mixing import Space, latents, mix, noisy_latents

MOST_STYLES = 100
EPSILON = 1e-5  # added to the variance, as in AdaIN's own code

_AMOUNTS: Mapping[str, Callable[[Array], Array]] = {
    "uniform": lambda u: u,
    "arcsine": lambda u: jnp.square(jnp.sin(0.5 * jnp.pi * u)),  # Beta(1/2, 1/2)
    "constant": jnp.ones_like,
}
AMOUNTS = tuple(_AMOUNTS)


def style(latent: Array) -> tuple[Array, Array]:
    """Mean and standard deviation over the grid.

    Args:
      latent: floating `[B, h, w, c]`.

    Returns:
      Two arrays `[B, 1, 1, c]`; the second is sqrt(variance + 1e-5), with the population variance.

    Raises:
      ValueError: the latent is not a grid.
    """
    if latent.ndim != 4:
        shape = list(latent.shape)
        raise ValueError(f"latent: has shape {shape}, style needs a grid [B, h, w, c]")
    mean = jnp.mean(latent, axis=(1, 2), keepdims=True)
    variance = jnp.mean(jnp.square(latent - mean), axis=(1, 2), keepdims=True)
    return mean, jnp.sqrt(variance + EPSILON)


def restyle_latents(latent: Array, mean: Array, std: Array, amount: Array) -> Array:
    """Moves latents towards given statistics: (1 - a) z + a ((z - m) / s * std + mean).

    Args:
      latent: floating `[B, h, w, c]`.
      mean, std: `[B, 1, 1, c]`, the style to take on, see `style`.
      amount: a in [0, 1], broadcast against the latent, e.g. `[B, 1, 1, 1]`.

    Returns:
      As `latent`; exactly `latent` where a is 0.

    >>> z = jnp.array([0.0, 2.0]).reshape(1, 1, 2, 1)
    >>> moved = restyle_latents(z, 5 * jnp.ones((1, 1, 1, 1)), jnp.ones((1, 1, 1, 1)), 1.0)
    >>> moved.round().astype(int).ravel().tolist()
    [4, 6]
    """
    own_mean, own_std = style(latent)
    styled = (latent - own_mean) / own_std * std + mean
    return (1.0 - amount) * latent + amount * styled


def _drawn_style(key: Key, latent: Array, groups: int, styles: int) -> tuple[Array, Array]:
    """Statistics mixed from `styles` partners, with different partners for each channel group."""
    batch, channels = latent.shape[0], latent.shape[-1]
    partner_key, weight_key = jax.random.split(key)
    keys = jax.random.split(partner_key, (groups, styles))
    partners = jax.vmap(jax.vmap(lambda key: jax.random.permutation(key, batch)))(keys)
    # Dirichlet(1, ..., 1) over the partners.
    weights = jax.nn.softmax(log_gamma(weight_key, 1.0, (groups, styles, batch)), axis=1)

    def mixed(statistic: Array) -> Array:
        split = statistic.reshape(batch, groups, channels // groups)
        of_groups = [
            jnp.einsum("sb,sbc->bc", weights[g].astype(split.dtype), split[partners[g], g])
            for g in range(groups)
        ]
        return jnp.concatenate(of_groups, axis=-1).reshape(statistic.shape)

    mean, std = style(latent)
    return mixed(mean), mixed(std)


def _restyled(
    key: Key, env: Env, draw: Draw, *, strength: float, amount: str, groups: int, styles: int
) -> Array:
    into_key, style_key, amount_key = jax.random.split(key, 3)
    latent = latents.into(into_key, env, draw)
    batch, channels = latent.shape[0], latent.shape[-1]
    if channels % groups:
        raise ValueError(f"groups = {groups}: must divide {channels}, the latent's channels")
    mean, std = _drawn_style(style_key, latent, groups, styles)
    moved = strength * _AMOUNTS[amount](jax.random.uniform(amount_key, (batch, groups)))
    moved = jnp.repeat(moved, channels // groups, axis=1)[:, None, None, :]
    return restyle_latents(latent, mean, std, moved.astype(latent.dtype))


def restyled(
    *, strength: float = 1.0, amount: str = "uniform", groups: int = 1, styles: int = 1
) -> Space:
    """The space of latent means in the style of others, for `mix`; see `restyle`.

    Raises:
      ValueError: a setting out of range.
    """
    checks.in_range(0.0, 1.0, strength=strength)
    checks.one_of(AMOUNTS, amount=amount)
    checks.whole(1, groups=groups, styles=styles)
    checks.in_range(1, MOST_STYLES, styles=styles)
    into = partial(_restyled, strength=strength, amount=amount, groups=groups, styles=styles)
    return Space(into, latents.out)


def restyle(
    *,
    strength: float = 1.0,
    amount: str = "uniform",
    groups: int = 1,
    styles: int = 1,
    alpha: float = 0.0,
    lam: str = "batch",
    latent_noise: float = 0.0,
) -> Vicinity:
    r"""Each example decoded with the latent style of random others; the label is kept.

    .. math::
        x' = D\left((1 - a) z + a \left(\frac{z - m}{s} s_j + m_j\right)\right), \quad z = \mu(x)

    with m and s the mean and standard deviation over the latent grid per channel, and j a random
    partner.

    Args:
      strength: the largest a, in [0, 1]; 0 gives reconstructions.
      amount: how a is drawn: "uniform" on [0, strength], "arcsine" (strength * Beta(1/2, 1/2): little
        or nearly all of it, seldom half), "constant".
      groups: of channels, each with its own partners and a; divides the latent's channels.
      styles: partners whose statistics are averaged, with Dirichlet(1, ..., 1) weights; 1 to 100.
      alpha, lam: above 0, restyled latents are mixed as `mix` mixes latents, labels with them.
      latent_noise: noise before decoding, in standard deviations of the posterior; see
        `mixing.noisy_latents`.

    Returns:
      A vicinity over a VAE with a grid latent, cached or encoded when called.

    Raises:
      ValueError: a setting out of range; when called, no VAE, a latent that is not a grid, or a
        number of channels that `groups` does not divide.

    References:
      Huang and Belongie, *Arbitrary Style Transfer in Real-time with Adaptive Instance
      Normalization*, ICCV 2017, eq. 8.

    >>> env = Env(None, encode=lambda x: x, decode=lambda z: jnp.clip(z, 0, 1))
    >>> draw = Draw(jnp.zeros((2, 4, 4, 3)).at[1].set(0.5), jnp.eye(2))
    >>> out = restyle(amount="constant")(jax.random.key(0), env, draw)
    >>> sorted(out.image[:, 0, 0, 0].tolist()), out.label.tolist()
    ([0.0, 0.5], [[1.0, 0.0], [0.0, 1.0]])
    """
    space = restyled(strength=strength, amount=amount, groups=groups, styles=styles)
    return mix(noisy_latents(latent_noise, space), alpha=alpha, lam=lam)
