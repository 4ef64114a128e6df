"""Names, order and parameters of the corruptions against the published ones, typed by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from severities import TABLES

from varmixup_jax import corruptions
from varmixup_jax.corruptions import grid, motion, photographs, weather

FIFTEEN = (
    *("gaussian_noise", "shot_noise", "impulse_noise"),
    *("defocus_blur", "glass_blur", "motion_blur", "zoom_blur"),
    *("snow", "frost", "fog", "brightness"),
    *("contrast", "elastic_transform", "pixelate", "jpeg_compression"),
)
FOUR = ("speckle_noise", "gaussian_blur", "spatter", "saturate")


def test_the_fifteen_and_the_four_in_the_papers_order():
    assert corruptions.NAMES == FIFTEEN
    assert corruptions.EXTRA == FOUR
    # `make` folds the place in this order into the key: another order is other draws.
    assert tuple(corruptions.FUNCTIONS) == FIFTEEN + FOUR
    assert corruptions.SEVERITIES == (1, 2, 3, 4, 5)
    assert set(corruptions.DETERMINISTIC) == {
        *("defocus_blur", "zoom_blur", "gaussian_blur", "brightness", "contrast", "saturate"),
        *("pixelate", "jpeg_compression"),
    }


@pytest.mark.parametrize("table", ["cifar", "tiny_imagenet"])
@pytest.mark.parametrize("name", FIFTEEN + FOUR)
def test_every_parameter_of_every_severity(table, name):
    assert list(corruptions.TABLES[table][name]) == TABLES[table][name]


def test_tables_hold_nothing_else():
    assert set(corruptions.TABLES) == {"cifar", "tiny_imagenet"}
    for table in corruptions.TABLES.values():
        assert set(table) == set(FIFTEEN + FOUR)


def test_zoom_factors_are_those_of_the_floating_point_range():
    stops = (1.06, 1.11, 1.16, 1.21, 1.26)
    assert [(len(np.arange(1, stop, 0.01)),) for stop in stops] == TABLES["cifar"]["zoom_blur"]


def test_constants_of_the_procedures():
    assert photographs.FROST_SCALE == {"cifar": 0.2, "tiny_imagenet": 0.3}
    assert (
        *("frost1.png", "frost2.png", "frost3.png"),
        *("frost4.jpg", "frost5.jpg"),
    ) == photographs.PHOTOGRAPHS
    assert motion.ANGLES == (-45, 45)
    assert weather.STREAK_ANGLES == (-135, -45)


def test_results_are_truncated_and_not_rounded():
    levels = np.array([-3.0, 0.0, 0.99, 1.0, 7.5, 127.9, 254.99, 255.0, 300.0], np.float32)
    got = np.asarray(grid.truncate(jnp.asarray(levels / 255))) * 255
    np.testing.assert_allclose(got, [0, 0, 0, 1, 7, 127, 254, 255, 255], atol=1e-4)


@pytest.mark.parametrize("name", ["gaussian_noise", "contrast", "fog"])
def test_corrupt_picks_the_table_by_name(name):
    images = jnp.asarray(np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3)) / 255, jnp.float32)
    one, other = (
        np.asarray(corruptions.corrupt(jax.random.key(0), name, images, 5, table))
        for table in ("cifar", "tiny_imagenet")
    )
    assert not np.array_equal(one, other)
