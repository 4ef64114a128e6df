"""Frost: the photographs where they are at hand, and a texture with their statistics elsewhere."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from varmixup_jax import corruptions
from varmixup_jax.corruptions import frost


def test_procedural_frost_has_the_photographs_moments():
    sample = np.asarray(
        jax.jit(frost.synthesise, static_argnums=(1, 2))(jax.random.key(0), 600, 32), np.float64
    )
    assert sample.shape == (600, 32, 32, 3)
    want = np.asarray(frost.STATISTICS)
    np.testing.assert_allclose(sample.mean(axis=(0, 1, 2)), want[:, :3].mean(axis=0), atol=0.03)
    contrast = sample.mean(axis=-1).std(axis=(1, 2)).mean()
    np.testing.assert_allclose(contrast, want[:, 4].mean(), rtol=0.1)


@pytest.fixture
def photographs(tmp_path):
    """Five synthetic photographs whose red channel tells the row and green the column."""
    for index, name in enumerate(frost.PHOTOGRAPHS):
        row, col = np.mgrid[:200, : 220 + 10 * index].astype(np.uint8)
        blue = np.full_like(row, 50 * index)
        picture = Image.fromarray(np.stack([row, col, blue], axis=-1))
        picture.save(tmp_path / name, quality=100, subsampling=0)
    return tmp_path


def test_photographs_are_shrunk_and_cropped(photographs):
    textures = corruptions.load_textures(photographs, size=32)
    assert textures.images.shape == (5, 40, 52, 3)
    np.testing.assert_array_equal(textures.sizes[:, 0], 40)
    np.testing.assert_array_equal(textures.sizes[:, 1], [44, 46, 48, 50, 52])
    # Shrinking by five reads the middle pixel of five: 5 i + 2.
    np.testing.assert_allclose(
        np.asarray(textures.images[0, :, 0, 0]) * 255, 5 * np.arange(40) + 2, atol=1
    )
    crops = (
        np.asarray(jax.jit(frost.crop, static_argnums=(2, 3))(jax.random.key(0), textures, 200, 32))
        * 255
    )
    assert set(np.round(crops[:, 0, 0, 2] / 50)) == {0, 1, 2, 3, 4}
    np.testing.assert_allclose(np.diff(crops[..., 0], axis=1), 5, atol=3)
    assert crops[..., 0].max() <= 5 * 39 + 3  # never the padding
    assert crops[..., 0].min() >= 0
    assert len(np.unique(np.round(crops[:, 0, 0, 0]))) > 4


def test_frost_adds_the_weighted_texture(photographs):
    textures = corruptions.load_textures(photographs, size=32)
    images = jnp.full((3, 32, 32, 3), 0.2)
    out = corruptions.corrupt("frost", jax.random.key(0), images, 3, frost_textures=textures)
    step = np.diff(np.asarray(out)[..., 0] * 255, axis=1)
    np.testing.assert_allclose(step.mean(), 5 * 0.4, atol=0.05)
    assert corruptions.frost_source(textures) == "photographs"
    assert corruptions.frost_source(None) == "procedural"


def test_frost_refusals(photographs):
    with pytest.raises(ValueError, match=r"size = 40: must be below 40"):
        corruptions.load_textures(photographs, size=40)
    (photographs / "frost3.png").unlink()
    with pytest.raises(ValueError, match=r"frost_dir = .*must hold frost1.png"):
        corruptions.load_textures(photographs)
    with pytest.raises(ValueError, match="table = 'x'"):
        corruptions.load_textures(photographs, table="x")
