"""CIFAR-C as distributed, by the maker's directory, and as TFDS prepares it."""

import hashlib
import shutil

import numpy as np
import pytest
import tensorflow_datasets as tfds
from tfds_writer import pairs, write_prepared

from varmixup_jax import corruptions
from varmixup_jax.corruptions.make import make
from varmixup_jax.data.corrupted import open_corrupted
from varmixup_jax.data.published import published

NAMES = ("contrast", "pixelate")
N = 7


@pytest.fixture(scope="module")
def arrays():
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (N, 8, 8, 3), dtype=np.uint8), np.arange(N) % 3


@pytest.fixture(scope="module")
def made(tmp_path_factory, arrays):
    return make(tmp_path_factory.mktemp("c"), *arrays, NAMES, batch_size=3, seed=1)


def test_published_directory_streams_in_order(made, arrays):
    labels = arrays[1]
    opened = open_corrupted(made, "cifar10", NAMES)
    assert (len(opened.labels), opened.names) == (N, NAMES)
    batches = list(opened.batches("contrast", 4, 3))
    assert [len(rows) for rows, _ in batches] == [3, 3, 1]
    stored = np.load(made / "contrast.npy")
    np.testing.assert_array_equal(np.concatenate([b for b, _ in batches]), stored[3 * N : 4 * N])
    np.testing.assert_array_equal(np.concatenate([y for _, y in batches]), labels)
    assert batches[0][0].dtype == np.uint8
    assert batches[0][1].dtype == np.int32


def test_md5_names_file_found_and_expected(made, tmp_path, monkeypatch):
    made = shutil.copytree(made, tmp_path / "published")
    (made / "corruptions.json").unlink()
    with pytest.raises(ValueError, match=r"labels.npy: found md5 \w{32}, expected c439b113"):
        open_corrupted(made, "cifar10", NAMES, md5=True)
    for name in (*NAMES, "labels"):
        md5 = hashlib.md5((made / f"{name}.npy").read_bytes()).hexdigest()
        monkeypatch.setitem(published().registry, f"CIFAR-10-C/{name}.npy", f"md5:{md5}")
    assert open_corrupted(made, "cifar10", NAMES, md5=True).labels.size == N


def test_the_md5_table_covers_every_corruption():
    for folder in ("CIFAR-10-C", "CIFAR-100-C"):
        names = {f"{folder}/{n}.npy" for n in (*corruptions.NAMES, *corruptions.EXTRA, "labels")}
        assert len({published().registry[name] for name in names}) == 20


def test_what_was_made_here_has_no_published_sums(made):
    with pytest.raises(ValueError, match=r"found corruptions.json, which published files"):
        open_corrupted(made, "digits", NAMES, md5=True)


def test_tfds_prepared_sets_are_read(tmp_path, arrays):
    images, labels = arrays
    tfds.disable_progress_bar()
    root = tmp_path / "cifar10_corrupted"
    for severity in corruptions.SEVERITIES:
        split = {"test": (images // severity, labels)}
        write_prepared(f"elastic_{severity}", "1.0.0", split, map(str, range(3)), root)
    opened = open_corrupted(tmp_path, "cifar10", ("elastic_transform",))
    assert len(opened.labels) == N
    (found, classes), *_ = opened.batches("elastic_transform", 2, N)
    assert pairs(found, classes) == pairs(images // 2, labels)  # TFDS shuffles when it writes
    with pytest.raises(ValueError, match=r"tfds build cifar10_corrupted/frosted_glass_blur_1"):
        open_corrupted(tmp_path, "cifar10", ("glass_blur",))
