"""Which frost a run computes: what its configuration asks for and what is installed, noted by name."""

import sys

import numpy as np
import pytest
from PIL import Image
from test_runs import npz, quick, standard_promotion  # noqa: F401

from varmixup_jax.config import freeze
from varmixup_jax.runs.setup import prepare

FILES = ("frost1.png", "frost2.png", "frost3.png", "frost4.jpg", "frost5.jpg")


@pytest.fixture
def package(tmp_path, monkeypatch):
    """An installed `imagecorruptions`."""
    folder = tmp_path / "site" / "imagecorruptions" / "frost"
    folder.mkdir(parents=True)
    (folder.parent / "__init__.py").touch()
    for name in FILES:
        Image.fromarray(np.full((100, 100, 3), 90, np.uint8)).save(folder / name)
    monkeypatch.syspath_prepend(str(folder.parents[1]))
    monkeypatch.delitem(sys.modules, "imagecorruptions", raising=False)
    return folder


def source(npz, tmp_path, where, corruptions="computed"):  # noqa: F811
    config = quick(npz, tmp_path, eval__frost_dir=where, eval__corruptions=corruptions)
    return prepare(freeze(config)).conditions.frost_source


@pytest.mark.parametrize(
    ("where", "expected"),
    [("", "photographs"), ("imagecorruptions", "photographs"), ("synthetic", "synthetic")],
)
def test_photographs_of_the_package(npz, tmp_path, package, where, expected):  # noqa: F811
    assert source(npz, tmp_path, where) == expected


def test_a_package_that_is_not_installed_is_said_before_anything_is_trained(
    npz,  # noqa: F811
    tmp_path,
    monkeypatch,
):
    monkeypatch.setitem(sys.modules, "imagecorruptions", None)
    with pytest.raises(ValueError, match=r"config\.eval\.frost_dir = .*imagecorruptions.*install"):
        source(npz, tmp_path, "imagecorruptions")


def test_photographs_of_a_directory(npz, tmp_path, package):  # noqa: F811
    assert source(npz, tmp_path, str(package)) == "photographs"


def test_photographs_are_read_only_where_frost_is_computed(npz, tmp_path, package):  # noqa: F811
    (package / FILES[2]).write_bytes(b"damaged")
    assert source(npz, tmp_path, "", corruptions="none") == "synthetic"
    with pytest.raises(ValueError, match=r"config\.eval\.frost_dir = .*frost3\.png is not a whole"):
        source(npz, tmp_path, "")
