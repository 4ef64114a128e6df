"""Prepared TFDS directories: missing, half-written, damaged, of the wrong kind."""

import json
import shutil

import numpy as np
import pytest
import tensorflow_datasets as tfds
from refusing import refused

from varmixup_jax.data import load
from varmixup_jax.data.archives import Contents, Examples
from varmixup_jax.data.writer import write_prepared

INFO, FEATURES = "dataset_info.json", "features.json"
TRAIN, TEST = "toy-train.array_record-00000-of-00001", "toy-test.array_record-00000-of-00001"


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """`<root>/toy/1.0.0`: two classes of four and two 4x4 grey images."""
    tfds.disable_progress_bar()
    splits = {}
    for split, count in (("train", 8), ("test", 4)):
        images = np.random.default_rng(count).integers(0, 256, (count, 4, 4, 1), np.uint8)
        splits[split] = Examples(images, {"label": np.arange(count) % 2})
    root = tmp_path_factory.mktemp("prepared")
    contents = Contents(splits, {"label": ("ant", "bee")})
    write_prepared("toy", "1.0.0", contents, root, id_digits=0, citation="")
    return root


@pytest.fixture
def root(prepared, tmp_path):
    return shutil.copytree(prepared, tmp_path / "root")


def read(root, name="toy"):
    return load(f"tfds:{name}", data_dir=str(root), val_fraction=0.0, split_seed=0)


def remove(name):
    return lambda folder: (folder / name).unlink()


def write(name, content):
    data = content if isinstance(content, bytes) else content.encode()
    return lambda folder: (folder / name).write_bytes(data)


def cut(name, share):
    def change(folder):
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: int(share * len(content))])

    return change


def flip(name, every):
    def change(folder):
        content = bytearray((folder / name).read_bytes())
        for index in range(0, len(content), every):
            content[index] ^= 0xFF
        (folder / name).write_bytes(bytes(content))

    return change


def edit(name, alter):
    def change(folder):
        value = json.loads((folder / name).read_text())
        alter(value)
        (folder / name).write_text(json.dumps(value))

    return change


def split_of(value, name):
    return next(split for split in value["splits"] if split["name"] == name)


def renamed(old, new):
    return edit(INFO, lambda v: split_of(v, old).update(name=new))


def counted(name, lengths):
    return edit(INFO, lambda v: split_of(v, name).update(shardLengths=lengths))


DAMAGES = {
    "no_info": (remove(INFO), "not prepared", "varmixup_jax.data.prepare toy"),
    "no_features": (remove(FEATURES), "not prepared", "varmixup_jax.data.prepare toy"),
    "info_empty": (write(INFO, ""), INFO, "truncated"),
    "info_half": (cut(INFO, 0.5), INFO, "truncated"),
    "info_list": (write(INFO, "[1]"), INFO),
    "info_number": (write(INFO, "5"), INFO),
    "info_null": (write(INFO, "null"), INFO),
    "info_deep": (write(INFO, "[" * 50_000), INFO),
    "info_bytes": (write(INFO, b"\xff\xfe{}"), INFO),
    "info_nothing": (write(INFO, "{}"), INFO, "fileFormat"),
    "info_other_format": (edit(INFO, lambda v: v.update(fileFormat="tfrecord")), "tfrecord"),
    "info_format_number": (edit(INFO, lambda v: v.update(fileFormat=5)), "array_record"),
    "info_formats_number": (edit(INFO, lambda v: v.update(alternativeFileFormats=7)), INFO),
    "info_unknown_field": (edit(INFO, lambda v: v.update(zzz=1)), "tfds:toy"),
    "info_splits_text": (edit(INFO, lambda v: v.update(splits="none")), "tfds:toy"),
    "info_no_splits": (edit(INFO, lambda v: v.update(splits=[])), "splits", "train and test"),
    "no_train_split": (renamed("train", "extra"), "splits", "train and test"),
    "no_test_split": (renamed("test", "extra"), "splits", "train and test"),
    "train_empty": (counted("train", ["0"]), "train", "0 images"),
    "test_empty": (counted("test", ["0"]), "test", "0 images"),
    "train_longer": (counted("train", ["9"]), TRAIN),
    "train_negative": (counted("train", ["-3"]), "t"),
    "two_shards_said": (counted("train", ["4", "4"]), "toy-train"),
    "features_empty": (write(FEATURES, ""), "tfds:toy", "metadata"),
    "features_list": (write(FEATURES, "[]"), "tfds:toy"),
    "features_nothing": (write(FEATURES, "{}"), "tfds:toy"),
    "features_half": (cut(FEATURES, 0.6), "tfds:toy", "metadata"),
    "features_of_nowhere": (
        write(FEATURES, '{"pythonClassName": "os.system", "text": {}}'),
        "tfds:toy",
    ),
    "no_image": (
        edit(FEATURES, lambda v: v["featuresDict"]["features"].pop("image")),
        "image",
    ),
    "no_label": (
        edit(FEATURES, lambda v: v["featuresDict"]["features"].pop("label")),
        "label",
    ),
    "no_train_file": (remove(TRAIN), "toy-train"),
    "no_test_file": (remove(TEST), "toy-test"),
    "train_file_empty": (write(TRAIN, b""), "toy-train"),
    "train_file_text": (write(TRAIN, "no records"), "toy-train"),
    "train_file_half": (cut(TRAIN, 0.5), "toy-train"),
    "train_file_cut": (cut(TRAIN, 0.95), "toy-train"),
    "train_file_zeros": (write(TRAIN, bytes(200_000)), "toy-train"),
    "train_file_damaged": (flip(TRAIN, 40), "toy-train"),
    "test_file_damaged": (flip(TEST, 30), "toy-test"),
    "train_file_is_the_test_file": (
        lambda folder: shutil.copy(folder / TEST, folder / TRAIN),
        "toy-train",
    ),
    "more_names_than_labels": (
        lambda folder: (folder / "label.labels.txt").write_text("ant\nbee\ncow\n"),
        "cow",
    ),
    "fewer_names": (
        lambda folder: (folder / "label.labels.txt").write_text("ant\n"),
        "tfds:toy",
    ),
}


@pytest.mark.parametrize("kind", DAMAGES)
def test_a_damaged_set(kind, root):
    change, *names = DAMAGES[kind]
    change(root / "toy" / "1.0.0")
    with refused(*names, untouched=[root]):
        read(root)


def test_the_undamaged_set_is_read(root):
    assert read(root).label_names == ("ant", "bee")


NAMES = {
    "none": "not prepared",
    "toy:2.0.0": "not prepared",
    "toy/other": "not prepared",
    "cifar10": "varmixup_jax.data.prepare cifar10",
    "": "source",
    "..": "source",
    "../toy": "source",
    "/etc": "source",
    "toy/../..": "source",
    "toy:latest": "source",
    "toy:1.0": "source",
    "toy 1": "source",
    "töy": "source",
    "toy\n": "source",
    "<script>": "source",
}


@pytest.mark.parametrize("name", NAMES)
def test_names(name, root):
    with refused(NAMES[name], untouched=[root]):
        read(root, name)


def test_a_set_that_was_left_half_written(root):
    """TFDS writes into `<version>.incomplete...` and renames at the end."""
    (root / "toy" / "1.0.0").rename(root / "toy" / "1.0.0.incompleteABC123")
    with refused("not prepared", str(root), untouched=[root]):
        read(root)


def test_a_root_that_is_not_there(tmp_path):
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "none", tmp_path / "file", "~nobody-here/sets"):
        with refused("not prepared", str(place), untouched=[tmp_path]):
            read(place)


def test_the_version_is_a_file(root):
    shutil.rmtree(root / "toy" / "1.0.0")
    (root / "toy" / "1.0.0").write_text("")
    with refused("not prepared", untouched=[root]):
        read(root)
