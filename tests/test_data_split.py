"""Stratified split and balanced subset against their definitions; resizing against numpy."""

import numpy as np
import pytest

from varmixup_jax.data.split import balanced_subset, stratified_split
from varmixup_jax.image_files import resize_images

LABELS = np.random.default_rng(3).permutation(np.repeat([0, 1, 2], [50, 20, 5]))


@pytest.mark.parametrize("fraction", [0.0, 0.01, 0.1, 0.25, 0.5])
def test_split_is_a_partition_with_the_same_fraction_of_each_class(fraction):
    kept, held_out = stratified_split(LABELS, fraction, seed=0)
    np.testing.assert_array_equal(np.sort(np.concatenate([kept, held_out])), np.arange(75))
    assert (np.diff(kept) > 0).all()
    counts = np.bincount(LABELS[held_out], minlength=3)
    want = [max(1, int(fraction * n + 0.5)) if fraction else 0 for n in (50, 20, 5)]
    assert counts.tolist() == want


def test_split_is_fixed_by_the_seed():
    first, again, other = (stratified_split(LABELS, 0.2, seed)[1] for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert set(first) != set(other)
    # The stream is numpy's PCG64: this draw must not change between platforms or releases.
    rows = np.flatnonzero(LABELS == 0)
    drawn = np.random.Generator(np.random.PCG64(1)).permutation(rows)[:10]
    assert set(drawn) == set(first[LABELS[first] == 0])


def test_every_row_is_held_out_equally_often():
    times = np.zeros(75)
    seeds, fraction = 400, 0.2
    for seed in range(seeds):
        times[stratified_split(LABELS, fraction, seed)[1]] += 1
    z = (times / seeds - fraction) / np.sqrt(fraction * (1 - fraction) / seeds)
    assert np.abs(z).max() < 4.5
    # A near miss, always taking the first rows of a class, is far outside.
    assert abs((1 - fraction) / np.sqrt(fraction * (1 - fraction) / seeds)) > 4.5


def test_split_refuses_to_use_up_a_class():
    with pytest.raises(ValueError, match=r"val_fraction = 0\.95: leaves none of the 5 .* class 2"):
        stratified_split(LABELS, 0.95, seed=0)


def test_subset_takes_classes_in_turns_and_is_nested():
    before = set()
    for limit in range(3, 80):
        rows = balanced_subset(LABELS, limit)
        assert before <= set(rows)
        before = set(rows)
        counts = np.bincount(LABELS[rows], minlength=3)
        assert counts.sum() == min(limit, 75)
        unfinished = counts < np.array([50, 20, 5])
        if unfinished.any():
            assert counts.max() - counts[unfinished].min() <= 1
        for k in range(3):  # the first rows of each class
            np.testing.assert_array_equal(
                rows[LABELS[rows] == k], np.flatnonzero(k == LABELS)[: counts[k]]
            )


@pytest.mark.parametrize("channels", [1, 3])
def test_shrinking_averages_areas(channels):
    images = np.random.default_rng(0).integers(0, 256, (4, 8, 8, channels), np.uint8)
    want = images.reshape(4, 4, 2, 4, 2, channels).mean(axis=(2, 4))
    got = resize_images(images, 4)
    assert got.dtype == np.uint8
    np.testing.assert_allclose(got, want, atol=1.0)  # each axis is rounded in turn


def test_enlarging_keeps_a_flat_image_and_the_same_size_is_the_identity():
    images = np.full((2, 5, 5, 3), 77, np.uint8)
    assert resize_images(images, 5) is images
    np.testing.assert_array_equal(resize_images(images, 9), np.full((2, 9, 9, 3), 77))
