"""Prepared TFDS sets: made here by TFDS itself, read without TensorFlow, refused when bad."""

import os
import shutil
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import tensorflow_datasets as tfds
from tfds_writer import pairs, write_prepared

from varmixup_jax.data import load
from varmixup_jax.data.prepared import find_prepared

CLASSES, TRAIN, TEST = 3, 30, 9


def pictures(count, channels, mixed=False):
    """Images and labels of a split; with `mixed`, of two sizes."""
    generator = np.random.default_rng(count + channels)
    sizes = [(6, 5) if mixed and row % 2 else (6, 6) for row in range(count)]
    images = [generator.integers(0, 256, (*size, channels), np.uint8) for size in sizes]
    return images, np.arange(count) % CLASSES


def prepare(root, name, *, channels=3, test="test", mixed=False, **features):
    """Writes a small set."""
    splits = {"train": pictures(TRAIN, channels, mixed), test: pictures(TEST, channels, mixed)}
    write_prepared(name, "1.0.0", splits, ("ant", "bee", "cow"), root, mixed=mixed, **features)


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("TFDS_DATA_DIR", raising=False)


@pytest.fixture(scope="module")
def shared_root(tmp_path_factory):
    tfds.disable_progress_bar()
    root = tmp_path_factory.mktemp("prepared")
    prepare(root, "toy")
    prepare(root, "grey", channels=1)
    return root


@pytest.fixture
def root(shared_root, tmp_path):
    """A copy of the prepared sets that a test may damage."""
    return shutil.copytree(shared_root, tmp_path / "root")


@pytest.mark.parametrize(("name", "channels"), [("toy", 3), ("grey", 1)])
def test_gives_back_every_image_with_its_label(shared_root, name, channels):
    data = load(f"tfds:{name}", data_dir=str(shared_root), val_fraction=0.0, split_seed=0)
    assert data.name == name
    assert data.label_names == ("ant", "bee", "cow")
    assert data.image_shape == (6, 6, channels)
    assert data.train_images.dtype == np.uint8
    assert data.train_labels.dtype == np.int32
    assert pairs(data.train_images, data.train_labels) == pairs(*pictures(TRAIN, channels))
    assert pairs(data.test_images, data.test_labels) == pairs(*pictures(TEST, channels))


def test_the_order_is_that_of_tfds_data_source(shared_root):
    data = load("tfds:toy", data_dir=str(shared_root), val_fraction=0.0, split_seed=0)
    oracle = tfds.builder_from_directory(str(shared_root / "toy/1.0.0")).as_data_source("train")
    np.testing.assert_array_equal(data.train_images, np.stack([e["image"] for e in oracle]))
    np.testing.assert_array_equal(data.train_labels, [e["label"] for e in oracle])


def test_the_second_load_reads_the_cache_and_a_new_file_does_not(root, monkeypatch):
    import varmixup_jax.image_files as module

    decoded = []
    decode = module.decode_image
    monkeypatch.setattr(module, "decode_image", lambda *a: decoded.append(1) or decode(*a))

    def again():
        decoded.clear()
        return load("tfds:toy", data_dir=str(root), val_fraction=0.1, split_seed=0)

    first = again()
    assert len(decoded) == TRAIN + TEST
    second = again()
    assert len(decoded) == 0
    assert first.fingerprint == second.fingerprint
    os.utime(next((root / "toy/1.0.0").glob("*train*")), ns=(0, 1))
    assert again().fingerprint == first.fingerprint
    assert len(decoded) == TRAIN + TEST


def test_the_environment_names_the_directory(shared_root, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(shared_root))
    assert load("tfds:toy:1.0.0", val_fraction=0.1, split_seed=0).name == "toy"


def test_loading_does_not_import_tensorflow(shared_root, tmp_path):
    # A stand-in that can be found and must not be run: it shows that TensorFlow, where it is
    # installed, stays out, too.
    package = tmp_path / "path" / "tensorflow"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise AssertionError('tensorflow was imported')\n")
    script = """
        import sys
        from varmixup_jax.data import load

        data = load("tfds:toy", data_dir=sys.argv[1], val_fraction=0.1, split_seed=0)
        print(len(data.train_images), "tensorflow" in sys.modules)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), str(shared_root)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(package.parent), *sys.path])},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stdout == "27 False\n", done.stderr


def test_an_unprepared_set_is_refused_at_once_with_the_command(shared_root):
    message = (
        r"^tfds:cifar10: not prepared in .* \(prepared there: grey, toy\); prepare it with: "
        r"python -m varmixup_jax\.data\.prepare cifar10 --data-dir .*$"
    )
    with pytest.raises(ValueError, match=message):
        load("tfds:cifar10", data_dir=str(shared_root), val_fraction=0.1, split_seed=0)


def test_the_latest_version_is_taken_by_number_and_configs_must_be_named(root):
    # Under a folder with the set's own name, which must not be mistaken for a config.
    base = root / "toy"
    inner = base / "toy"
    for place in ("1.9.0", "1.10.0"):
        shutil.copytree(base / "1.0.0", inner / place)
    assert find_prepared("toy", str(base)) == inner / "1.10.0"
    assert find_prepared("toy:1.9.0", str(base)) == inner / "1.9.0"
    for config in ("big", "small"):
        shutil.copytree(base / "1.0.0", root / "multi" / config / "1.0.0")
    assert find_prepared("multi/small", str(root)) == root / "multi/small/1.0.0"
    with pytest.raises(ValueError, match="must be one of tfds:multi/big, tfds:multi/small"):
        find_prepared("multi", str(root))
    with pytest.raises(ValueError, match=r"not prepared in .*prepare multi/tiny"):
        find_prepared("multi/tiny", str(root))


def test_mixed_sizes_need_a_resize(tmp_path):
    prepare(tmp_path, "mixed", mixed=True)
    with pytest.raises(
        ValueError, match=r"image: images of mixed sizes, must be .* data\.resize=<pixels>"
    ):
        load("tfds:mixed", data_dir=str(tmp_path), val_fraction=0.1, split_seed=0)
    data = load("tfds:mixed", data_dir=str(tmp_path), val_fraction=0.0, split_seed=0, resize=6)
    assert data.image_shape == (6, 6, 3)
    untouched = pairs(*(part[::2] for part in pictures(TRAIN, 3, mixed=True)))
    assert set(untouched) <= set(pairs(data.train_images, data.train_labels))


def test_a_second_label_feature_is_ignored_and_validation_stands_in_for_test(tmp_path):
    second = tfds.features.ClassLabel(num_classes=CLASSES)
    prepare(tmp_path, "two", test="validation", coarse=second)
    data = load("tfds:two", data_dir=str(tmp_path), val_fraction=0.0, split_seed=0)
    assert pairs(data.test_images, data.test_labels) == pairs(*pictures(TEST, 3))
