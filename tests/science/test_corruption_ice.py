"""The synthesised texture of frost against what was measured on the photographs, typed here.

The figures are of 600 crops of 32 x 32 of each photograph, shrunk to 0.2 by OpenCV, in units of the
full range: mean colour; standard deviation over crops of the mean grey; mean over crops of the
standard deviation of the grey, and its 10th and 90th percentile; kurtosis of the differences of
neighbouring pixels; standard deviation within a crop of red minus blue.
"""

import jax
import numpy as np
import pytest
import scipy.stats as stats

from varmixup_jax.corruptions import ice

SIZE, COUNT = 32, 600
PHOTOGRAPHS = {
    "frost1": ((0.305, 0.582, 0.646), 0.042, (0.056, 0.045, 0.070), 4.3, 0.0701),
    "frost2": ((0.777, 0.794, 0.830), 0.034, (0.072, 0.058, 0.086), 5.0, 0.0105),
    "frost4": ((0.560, 0.618, 0.668), 0.042, (0.102, 0.087, 0.112), 4.6, 0.0149),
    "frost5": ((0.409, 0.453, 0.499), 0.066, (0.132, 0.110, 0.179), 4.0, 0.0089),
}
PLACES = {"frost1": (0,), "frost2": (1, 2), "frost4": (3,), "frost5": (4,)}


@pytest.fixture(scope="module")
def textures():
    """The textures by photograph: the first of three keys decides which one it is."""
    key = jax.random.key(0)
    made = np.asarray(jax.jit(ice.synthesise, static_argnums=(1, 2))(key, 5 * COUNT, SIZE))
    kinds = np.asarray(
        jax.random.randint(jax.random.split(jax.random.key(0), 3)[0], (5 * COUNT,), 0, 5)
    )
    return {
        name: made[np.isin(kinds, places)].astype(np.float64) for name, places in PLACES.items()
    }


def test_each_of_the_five_is_drawn_as_often(textures):
    counts = {name: len(crops) / len(PLACES[name]) for name, crops in textures.items()}
    for count in counts.values():
        assert abs(count - COUNT) < 4 * np.sqrt(COUNT * 0.8)


@pytest.mark.parametrize("name", PHOTOGRAPHS)
def test_colour_and_its_spread_between_crops(textures, name):
    colour, spread, *_ = PHOTOGRAPHS[name]
    crops = textures[name]
    means = crops.mean(axis=(1, 2))
    np.testing.assert_allclose(means.mean(axis=0), colour, atol=0.02)
    np.testing.assert_allclose(means.mean(axis=1).std(), spread, rtol=0.25)


@pytest.mark.parametrize("name", PHOTOGRAPHS)
def test_contrast_differs_from_crop_to_crop_as_in_the_photograph(textures, name):
    mean, low, high = PHOTOGRAPHS[name][2]
    contrast = textures[name].mean(axis=-1).std(axis=(1, 2))
    np.testing.assert_allclose(contrast.mean(), mean, rtol=0.1)
    np.testing.assert_allclose(np.percentile(contrast, 10), low, rtol=0.15)
    np.testing.assert_allclose(np.percentile(contrast, 90), high, rtol=0.15)
    # A Gaussian field of this spectrum has half the spread.
    assert np.log(contrast).std() > 0.05


@pytest.mark.parametrize("name", PHOTOGRAPHS)
def test_differences_of_neighbours_have_the_photographs_tails(textures, name):
    kurtosis = PHOTOGRAPHS[name][3]
    grey = textures[name].mean(axis=-1)
    found = stats.kurtosis(np.diff(grey, axis=2).ravel()) + 3
    np.testing.assert_allclose(found, kurtosis, rtol=0.15)  # a Gaussian field: 3.0


@pytest.mark.parametrize("name", PHOTOGRAPHS)
def test_chroma(textures, name):
    chroma = PHOTOGRAPHS[name][4]
    crops = textures[name]
    found = (crops[..., 0] - crops[..., 2]).std(axis=(1, 2)).mean()
    np.testing.assert_allclose(found, chroma, rtol=0.25, atol=0.003)


def test_keys_decide_and_textures_are_independent():
    run = jax.jit(ice.synthesise, static_argnums=(1, 2))
    first, again, other = (np.asarray(run(jax.random.key(k), 4, 16)) for k in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    assert len({texture.tobytes() for texture in first}) == 4
    assert first.min() >= 0
    assert first.max() <= 1
