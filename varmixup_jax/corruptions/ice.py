"""A synthesised texture of ice, where the photographs that the original cuts frost from are not.

A random field whose crops have the measured statistics of the photographs' crops: mean colour and
its spread, spectrum, tails and skewness, contrast that differs from place to place and from crop to
crop, and two directions of colour. Portilla and Simoncelli 2000 and Wainwright and Simoncelli 2000
(Gaussian scale mixtures) say why a power spectrum alone does not look like anything.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from varmixup_jax.types import Array, Key


class Photograph(NamedTuple):
    """What was measured on crops of 32 x 32 of one photograph, shrunk to 0.2.

    Attributes:
      colour: mean red, green and blue.
      main: direction of colour with the largest variance, of unit length; its coordinate is a.
      second: the second one; its coordinate is b.
      level: standard deviation over crops of the mean of a.
      coarse: standard deviation within a crop of the part of a with a falling spectrum.
      coarse_slope: its power is f^-coarse_slope.
      fine: standard deviation of the other part of a, the grain.
      fine_slope: its power is f^-fine_slope.
      tails: standard deviation of the logarithm of the grain's local amplitude.
      tracks: correlation of that logarithm with the level and the coarse part.
      skew: weight of the grain's square.
      contrast: standard deviation of the logarithm of the contrast of a crop.
      contrast_tracks: correlation of that logarithm with the crop's level.
      hue_level: standard deviation over crops of the mean of b.
      hue: standard deviation of b within a crop.
    """

    colour: tuple[float, float, float]
    main: tuple[float, float, float]
    second: tuple[float, float, float]
    level: float
    coarse: float
    coarse_slope: float
    fine: float
    fine_slope: float
    tails: float
    tracks: float
    skew: float
    contrast: float
    contrast_tracks: float
    hue_level: float
    hue: float


MEASURED = ()
"""Of frost1 to frost5. Two of the photographs are the same picture."""

AMPLITUDE_SLOPE = 2.0
"""The logarithm of the grain's local amplitude has power f^-2."""

HUE_SLOPE = 2.5
"""b has power f^-2.5."""


def synthesise(key: Key, count: int, size: int) -> Array:
    """Textures like crops of a photograph drawn at random.

    With unit normal fields u, v, w of the powers above and unit normal numbers m, n, o per texture:

        grain  = e + skew (e^2 - 1),  e = v exp(tails (tracks r + sqrt(1 - tracks^2) w) - tails^2/2)
        a      = level m + c (coarse u + fine grain)
        c      = exp(contrast (contrast_tracks m + sqrt(1 - contrast_tracks^2) n) - contrast^2/2)
        colour = mean + a main + b second

    where r is level m + coarse u, scaled to unit variance, and b a field of its own with level o.

    Args:
      key: typed key.
      count: B, how many.
      size: S, pixels a side.

    Returns:
      float32 `[B, S, S, 3]` in [0, 1].
    """
    kind_key, noise_key, number_key = jax.random.split(key, 3)
    kind = jax.random.randint(kind_key, (count,), 0, len(MEASURED))
    columns = Photograph(*(np.asarray(column, np.float32) for column in zip(*MEASURED, strict=True)))
    of = Photograph(*(jnp.asarray(column)[kind][..., None, None] for column in columns))
    slopes = np.stack(
        [
            columns.coarse_slope,
            columns.fine_slope,
            np.full(len(MEASURED), AMPLITUDE_SLOPE),
            np.full(len(MEASURED), HUE_SLOPE),
        ],
        axis=1,
    )
    shape = jnp.asarray(_amplitude(slopes, size))[kind]
    noise = jnp.fft.rfft2(jax.random.normal(noise_key, (count, 4, size, size)))
    fields = jnp.fft.irfft2(noise * shape.astype(noise.dtype), s=(size, size))
    smooth, grain, loudness, hue = (fields[:, i] for i in range(4))
    numbers = jax.random.normal(number_key, (count, 3, 1, 1))
    level, louder, hue_level = (numbers[:, i] for i in range(3))

    ground = of.level * level + of.coarse * smooth
    ground = ground / jnp.hypot(of.level, of.coarse)
    local = _mixed(of.tracks, ground, loudness)
    grain = grain * jnp.exp(of.tails * local - 0.5 * of.tails**2)
    grain = grain + of.skew * (grain**2 - 1.0)
    whole = _mixed(of.contrast_tracks, level, louder)
    contrast = jnp.exp(of.contrast * whole - 0.5 * of.contrast**2)
    a = of.level * level + contrast * (of.coarse * smooth + of.fine * grain)
    b = of.hue_level * hue_level + of.hue * hue
    colour, main, second = (
        column.reshape(count, 1, 1, 3) for column in (of.colour, of.main, of.second)
    )
    return jnp.clip(colour + a[..., None] * main + b[..., None] * second, 0.0, 1.0)


def _mixed(correlation: Array, first: Array, second: Array) -> Array:
    """A unit normal that has this correlation with the first of two independent ones."""
    return correlation * first + jnp.sqrt(1.0 - correlation**2) * second


def _amplitude(slopes: np.ndarray, size: int) -> np.ndarray:
    """Filters `[*slopes.shape, size, size // 2 + 1]` that give white noise power f^-slope.

    The zero frequency is left out, and the variance is 1.
    """
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.fftfreq(size)[None])
    frequency[0, 0] = np.inf
    power = frequency ** -slopes[..., None, None]
    power[..., 0, 0] = 0.0
    power = power / power.mean(axis=(-2, -1), keepdims=True)
    return np.sqrt(power[..., : size // 2 + 1]).astype(np.float32)
