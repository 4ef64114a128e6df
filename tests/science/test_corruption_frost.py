"""Frost from photographs: where they are found, how they are shrunk, cropped and added."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from severities import TABLES

from varmixup_jax import corruptions
from varmixup_jax.corruptions import frost
from varmixup_jax.corruptions import photographs as photographs_file

FILES = ("frost1.png", "frost2.png", "frost3.png", "frost4.jpg", "frost5.jpg")


def save_photographs(folder, height=200):
    """Five stand-ins whose red channel tells the row, green the column and blue which it is."""
    folder.mkdir(parents=True, exist_ok=True)
    for index, name in enumerate(FILES):
        row, col = np.mgrid[:height, : 220 + 10 * index].astype(np.uint8)
        blue = np.full_like(row, 50 * index)
        picture = Image.fromarray(np.stack([row, col, blue], axis=-1))
        picture.save(folder / name, quality=100, subsampling=0)
    return folder


@pytest.fixture
def photographs(tmp_path):
    return save_photographs(tmp_path / "photographs")


@pytest.fixture
def package(tmp_path, monkeypatch):
    """An installed `imagecorruptions` that must not be imported."""
    folder = tmp_path / "site" / "imagecorruptions"
    save_photographs(folder / "frost")
    (folder / "__init__.py").write_text("raise RuntimeError('imported')\n")
    monkeypatch.syspath_prepend(str(folder.parent))
    monkeypatch.delitem(sys.modules, "imagecorruptions", raising=False)
    return folder


@pytest.fixture
def no_package(monkeypatch):
    real = photographs_file.importlib.util.find_spec
    monkeypatch.setattr(
        photographs_file.importlib.util,
        "find_spec",
        lambda name, *rest: None if name == "imagecorruptions" else real(name, *rest),
    )


def test_shrinking_is_opencvs_resize(photographs):
    cv2 = pytest.importorskip("cv2")
    noise = np.random.default_rng(0).integers(0, 256, (203, 317, 3), dtype=np.uint8)
    for name in FILES:
        cv2.imwrite(str(photographs / name), noise[..., ::-1])
    for table, scale in (("cifar", 0.2), ("tiny_imagenet", 0.3)):
        textures = corruptions.load_textures(photographs, table=table, size=32)
        want = cv2.resize(noise, (0, 0), fx=scale, fy=scale).astype(float)
        gap = np.abs(np.asarray(textures.images[0]) * 255 - want)
        assert gap.max() <= 1.001
        assert gap.mean() < 0.2  # its weights have 11 bits


def test_photographs_are_shrunk_and_cropped(photographs):
    textures = corruptions.load_textures(photographs, size=32)
    assert textures.images.shape == (5, 40, 52, 3)
    np.testing.assert_array_equal(textures.sizes[:, 0], 40)
    np.testing.assert_array_equal(textures.sizes[:, 1], [44, 46, 48, 50, 52])
    run = jax.jit(frost.crop, static_argnums=(2, 3))
    crops = np.asarray(run(jax.random.key(0), textures, 400, 32)) * 255
    kind = np.round(crops[:, 0, 0, 2] / 50).astype(int)
    counts = np.bincount(kind, minlength=5)
    assert counts.shape == (5,)
    assert (np.abs(counts - 80) < 4 * np.sqrt(80 * 0.8)).all()
    np.testing.assert_allclose(np.diff(crops[..., 0], axis=1), 5, atol=3)
    # Shrinking by five reads the middle pixel of five: 5 i + 2. Corners are anywhere from 0 to one
    # short of the last place, as in the original, and never reach the padding.
    rows, cols = (np.round((crops[:, 0, 0, axis] - 2) / 5) for axis in range(2))
    assert set(rows) == set(range(8))
    for index in range(5):
        assert cols[kind == index].max() <= 44 + 2 * index - 32 - 1
    assert cols.max() == 52 - 32 - 1


@pytest.mark.parametrize(("table", "severity"), [("cifar", 3), ("tiny_imagenet", 5)])
def test_frost_is_a_x_plus_b_texture(photographs, table, severity):
    scale, weight = TABLES[table]["frost"][severity - 1]
    textures = corruptions.load_textures(photographs, table=table, size=32)
    x = np.random.default_rng(0).integers(0, 90, (3, 32, 32, 3))
    images = jnp.asarray(x / 255, jnp.float32)
    key = jax.random.key
    out = corruptions.corrupt(key(0), "frost", images, severity, table, textures)
    texture = np.asarray(
        jax.jit(frost.crop, static_argnums=(2, 3))(key(0), textures, 3, 32), np.float64
    )
    want = np.floor(np.clip(scale * x / 255 + weight * texture, 0, 1) * 255 + 2e-4)
    gap = np.abs(np.round(np.asarray(out) * 255) - want)
    assert gap.max() <= 1
    assert (gap > 0).mean() < 0.002


def test_photographs_of_an_installed_package_are_the_default_and_it_is_not_imported(package):
    textures = corruptions.load_textures(size=32)
    assert textures.images.shape == (5, 40, 52, 3)
    assert corruptions.frost_source(textures) == "photographs"
    again = corruptions.load_textures("imagecorruptions", size=32)
    np.testing.assert_array_equal(textures.images, again.images)
    assert "imagecorruptions" not in sys.modules


def test_synthetic_is_synthetic_whatever_is_installed(package):
    assert corruptions.load_textures("synthetic", size=32) is None
    assert corruptions.frost_source(None) == "synthetic"


def test_without_photographs_that_fit_the_default_is_synthetic(package):
    assert corruptions.load_textures(size=39) is not None
    assert corruptions.load_textures(size=40) is None
    with pytest.raises(
        ValueError, match="frost_dir = 'imagecorruptions': size = 40: must be below"
    ):
        corruptions.load_textures("imagecorruptions", size=40)
    (package / "frost" / FILES[3]).unlink()
    assert corruptions.load_textures(size=32) is None


def test_without_the_package_the_default_is_synthetic(no_package):
    assert corruptions.load_textures(size=32) is None
    with pytest.raises(ValueError, match="frost_dir = 'imagecorruptions': is not installed"):
        corruptions.load_textures("imagecorruptions", size=32)


def test_refusals(photographs):
    with pytest.raises(ValueError, match=r"size = 40: must be below 40"):
        corruptions.load_textures(photographs, size=40)
    (photographs / "frost3.png").unlink()
    with pytest.raises(ValueError, match=r"frost_dir = .*must hold frost1.png"):
        corruptions.load_textures(photographs)
    (photographs / "frost3.png").write_bytes(b"no photograph")
    with pytest.raises(ValueError, match=r"frost_dir = .*frost3.png is not a whole PNG"):
        corruptions.load_textures(photographs)
    with pytest.raises(ValueError, match="table = 'x'"):
        corruptions.load_textures(photographs, table="x")
