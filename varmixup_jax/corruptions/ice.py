"""A synthesised ice texture, for when the original frost photographs are not available.

A random field whose crops have the measured statistics of the photographs' crops: mean colour and
its spread, spectrum, tails and skewness, contrast that varies within and between crops, and two
directions of colour. Portilla and Simoncelli 2000 and Wainwright and Simoncelli 2000 (Gaussian scale
mixtures) explain why a power spectrum alone does not look like a texture.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from varmixup_jax.types import Array, Key


class Photograph(NamedTuple):
    """What was measured on 32 x 32 crops of one photograph, scaled by 0.2.

    Attributes:
      colour: mean red, green and blue.
      main: direction of colour with the largest variance, of unit length; its coordinate is a.
      second: the second such direction; its coordinate is b.
      level: standard deviation over crops of the mean of a.
      coarse: standard deviation within a crop of the part of a with a falling spectrum.
      coarse_slope: its power is f^-coarse_slope.
      fine: standard deviation of the other part of a, the grain.
      fine_slope: its power is f^-fine_slope.
      bend: how much the grain's extremes are compressed, 0 for not at all.
      skew: weight of the grain's square.
      tails: standard deviation of the logarithm of the local amplitude.
      tails_slope: the power of that logarithm is f^-tails_slope.
      tracks: correlation of that logarithm with the level and the coarse part.
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
    bend: float
    skew: float
    tails: float
    tails_slope: float
    tracks: float
    contrast: float
    contrast_tracks: float
    hue_level: float
    hue: float


_FIRST = Photograph(
    colour=(0.305, 0.582, 0.646),
    main=(0.815, 0.467, 0.344),
    second=(-0.543, 0.409, 0.733),
    level=0.077,
    coarse=0.069,
    coarse_slope=2.89,
    fine=0.064,
    fine_slope=0.08,
    bend=0.00,
    skew=0.079,
    tails=0.215,
    tails_slope=3.11,
    tracks=0.318,
    contrast=0.121,
    contrast_tracks=0.372,
    hue_level=0.023,
    hue=0.043,
)
_SECOND = Photograph(
    colour=(0.777, 0.794, 0.830),
    main=(0.556, 0.577, 0.599),
    second=(0.706, 0.052, -0.706),
    level=0.056,
    coarse=0.047,
    coarse_slope=3.49,
    fine=0.103,
    fine_slope=0.78,
    bend=0.02,
    skew=-0.198,
    tails=0.275,
    tails_slope=3.15,
    tracks=-0.702,
    contrast=0.067,
    contrast_tracks=0.070,
    hue_level=0.002,
    hue=0.007,
)
_FOURTH = Photograph(
    colour=(0.560, 0.618, 0.668),
    main=(0.568, 0.570, 0.594),
    second=(0.510, 0.323, -0.798),
    level=0.066,
    coarse=0.056,
    coarse_slope=3.68,
    fine=0.150,
    fine_slope=0.39,
    bend=0.09,
    skew=-0.033,
    tails=0.390,
    tails_slope=2.67,
    tracks=0.048,
    contrast=0.083,
    contrast_tracks=0.157,
    hue_level=0.002,
    hue=0.011,
)
_FIFTH = Photograph(
    colour=(0.409, 0.453, 0.499),
    main=(0.589, 0.579, 0.563),
    second=(-0.654, -0.067, 0.753),
    level=0.099,
    coarse=0.105,
    coarse_slope=2.02,
    fine=0.189,
    fine_slope=0.97,
    bend=1.99,
    skew=0.250,
    tails=0.320,
    tails_slope=2.11,
    tracks=0.047,
    contrast=0.176,
    contrast_tracks=0.166,
    hue_level=0.003,
    hue=0.006,
)

MEASURED = (_FIRST, _SECOND, _SECOND, _FOURTH, _FIFTH)
"""Statistics of frost1 to frost5. Two of the photographs are the same picture."""

HUE_SLOPE = 2.5
"""b has power f^-2.5."""


def synthesise(key: Key, count: int, size: int) -> Array:
    """Textures like crops of a photograph drawn at random.

    With unit normal fields u, v, w of the powers above and unit normal numbers m, n per texture:

        grain  = e + skew (e^2 - 1),    e = v / sqrt(1 + bend v^2), scaled to unit variance
        local  = exp(tails (tracks r + sqrt(1 - tracks^2) w) - tails^2 / 2)
        global = exp(contrast (contrast_tracks m + sqrt(1 - contrast_tracks^2) n) - contrast^2 / 2)
        a      = level m + global local (coarse u + fine grain)
        colour = mean + a main + b second

    where r is level m + coarse u, scaled to unit variance, and b an independent field.

    Args:
      key: typed key.
      count: B, how many.
      size: S, pixels per side.

    Returns:
      float32 `[B, S, S, 3]` in [0, 1].
    """
    kind_key, noise_key, number_key = jax.random.split(key, 3)
    kind = jax.random.randint(kind_key, (count,), 0, len(MEASURED))

    def of(field: str) -> Array:
        column = np.asarray([getattr(photograph, field) for photograph in MEASURED], np.float32)
        chosen = jnp.asarray(column)[kind]
        return chosen.reshape(count, 1, 1, *column.shape[1:])

    slopes = [(p.coarse_slope, p.fine_slope, p.tails_slope, HUE_SLOPE) for p in MEASURED]
    shape = jnp.asarray(_amplitude(np.asarray(slopes), size))[kind]
    noise = jnp.fft.rfft2(jax.random.normal(noise_key, (count, 4, size, size)))
    fields = jnp.fft.irfft2(noise * shape.astype(noise.dtype), s=(size, size))
    smooth, grain, loudness, hue = (fields[:, i] for i in range(4))
    numbers = jax.random.normal(number_key, (count, 3, 1, 1))
    level, louder, hue_level = (numbers[:, i] for i in range(3))

    variance = np.asarray([_bent_variance(p.bend) for p in MEASURED], np.float32)
    spread = jnp.sqrt(jnp.asarray(variance)[kind][:, None, None] * (1.0 + of("bend") * grain**2))
    grain = grain / spread
    grain = grain + of("skew") * (grain**2 - 1.0)
    ground = of("level") * level + of("coarse") * smooth
    local = _mixed(of("tracks"), ground / jnp.hypot(of("level"), of("coarse")), loudness)
    whole = _mixed(of("contrast_tracks"), level, louder)
    amplitude = jnp.exp(of("tails") * local - 0.5 * of("tails") ** 2)
    amplitude = amplitude * jnp.exp(of("contrast") * whole - 0.5 * of("contrast") ** 2)
    a = of("level") * level + amplitude * (of("coarse") * smooth + of("fine") * grain)
    b = of("hue_level") * hue_level + of("hue") * hue
    colour = of("colour") + a[..., None] * of("main") + b[..., None] * of("second")
    return jnp.clip(colour, 0.0, 1.0)


def _mixed(correlation: Array, first: Array, second: Array) -> Array:
    """A unit normal that has this correlation with the first of two independent unit normals."""
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


def _bent_variance(bend: float) -> float:
    """The variance of v / sqrt(1 + bend v^2) for a unit normal v, by quadrature."""
    points, weights = np.polynomial.hermite_e.hermegauss(40)
    return float(np.sum(weights * points**2 / (1.0 + bend * points**2)) / np.sum(weights))
