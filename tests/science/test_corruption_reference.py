"""Against the original recipe's output on real images, where that file is at hand."""

import importlib.util
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from severities import CIFAR

from varmixup_jax import corruptions
from varmixup_jax.corruptions import motion

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "corruption_fidelity.py"
ALL = [*corruptions.NAMES, *corruptions.EXTRA]
KEYS = 4


@pytest.fixture(scope="module")
def fidelity():
    if not SCRIPT.is_file():
        pytest.skip("benchmarks/corruption_fidelity.py is not part of this installation")
    spec = importlib.util.spec_from_file_location("corruption_fidelity", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def reference(fidelity):
    path = fidelity.find_reference()
    if path is None:
        pytest.skip("no reference file: set VARMIXUP_REFERENCE_DATA to its folder")
    return np.load(path)


@pytest.mark.parametrize("name", ALL)
def test_severities_are_in_bounds_or_explained(name, fidelity, reference):
    clean = reference["clean"]
    for severity in (1, 3, 5):  # the parameters of all are in test_corruption_tables.py
        row = fidelity.compare(name, severity, clean, reference[name][severity - 1], KEYS)
        assert row.in_bounds() or row.explained(), fidelity.line(row)


@pytest.mark.parametrize("name", ["gaussian_noise", "glass_blur", "defocus_blur", "pixelate"])
def test_a_neighbouring_severity_is_out_of_bounds(name, fidelity, reference):
    row = fidelity.compare(name, 2, reference["clean"], reference[name][2], KEYS)
    assert not row.in_bounds()


def test_motion_blur_reproduces_the_references_pixels_at_some_angle(reference):
    """The angles are the reference's own: each image must be explained by one of them."""
    radius, sigma = np.array(CIFAR["motion_blur"], float).T
    clean = jnp.asarray(reference["clean"][:3], jnp.float32) / 255
    angles = np.arange(-45, 45.5, 0.5, dtype=np.float32)
    images = jnp.repeat(clean, len(angles), axis=0)
    run = jax.jit(lambda x, a: motion.streak(x, a, radius, sigma, jnp.int32(5)))
    out = np.asarray(run(images, jnp.tile(angles, 3))).reshape(3, len(angles), 32, 32, 3)
    equal = np.round(out * 255) == reference["motion_blur"][4, :3, None]
    share = equal.mean(axis=(2, 3, 4)).max(axis=1)
    assert (share > 0.95).all(), share
