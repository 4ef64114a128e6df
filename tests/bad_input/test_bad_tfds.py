"""Prepared TFDS directories: missing, half-written, damaged, of the wrong kind."""

import shutil

import numpy as np
import pytest
import tensorflow_datasets as tfds
from damages import both, cut, edit, flip, remove, write
from refusing import damaged, refused
from tfds_writer import write_prepared

from varmixup_jax.data import load


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """`<root>/toy/1.0.0`: two classes of four and two 4x4 grey images."""
    tfds.disable_progress_bar()
    splits = {}
    for split, count in (("train", 8), ("test", 4)):
        images = np.random.default_rng(count).integers(0, 256, (count, 4, 4, 1), np.uint8)
        splits[split] = images, np.arange(count) % 2
    root = tmp_path_factory.mktemp("prepared")
    write_prepared("toy", "1.0.0", splits, ("ant", "bee"), root)
    return root


@pytest.fixture
def root(prepared, tmp_path):
    return shutil.copytree(prepared, tmp_path / "root")


def read(root, name="toy"):
    return load(f"tfds:{name}", data_dir=str(root), val_fraction=0.0, split_seed=0)


TOY = "toy/1.0.0"
INFO, FEATURES, LABELS = (
    f"{TOY}/{name}" for name in ("dataset_info.json", "features.json", "label.labels.txt")
)
TRAIN, TEST = (f"{TOY}/toy-{split}.array_record-00000-of-00001" for split in ("train", "test"))


def info(**fields):
    return edit(INFO, lambda value: value.update(fields))


def split(of, **fields):
    """Fields of what the metadata says of a split."""
    one = lambda value: next(s for s in value["splits"] if s["name"] == of)  # noqa: E731
    return edit(INFO, lambda value: one(value).update(fields))


def without(feature):
    return edit(FEATURES, lambda value: value["featuresDict"]["features"].pop(feature))


PREPARE, SPLITS = ("not prepared", "varmixup_jax.data.prepare toy"), ("splits", "train and test")
DAMAGES = {
    "no_info": (remove(INFO), *PREPARE),
    "no_features": (remove(FEATURES), *PREPARE),
    "info_empty": (write(INFO, ""), "dataset_info.json", "truncated"),
    "info_nothing": (write(INFO, "{}"), "dataset_info.json", "fileFormat"),
    "info_other_format": (info(fileFormat="tfrecord"), "tfrecord"),
    "info_no_splits": (info(splits=[]), *SPLITS),
    "no_test_split": (split("test", name="extra"), *SPLITS),
    "train_empty": (split("train", shardLengths=["0"]), "train", "0 images"),
    "train_longer": (split("train", shardLengths=["9"]), TRAIN.split("/")[-1]),
    "two_shards_said": (split("train", shardLengths=["4", "4"]), "toy-train"),
    "features_empty": (write(FEATURES, ""), "tfds:toy", "metadata"),
    "features_nothing": (write(FEATURES, "{}"), "tfds:toy"),
    "features_of_nowhere": (write(FEATURES, '{"pythonClassName": "os.system", "text": {}}'), "tfds:toy"),
    "no_image": (without("image"), "image"),
    "no_train_file": (remove(TRAIN), "toy-train"),
    "train_file_empty": (write(TRAIN, b""), "toy-train"),
    "train_file_cut": (cut(TRAIN, 0.95), "toy-train"),
    "train_file_damaged": (flip(TRAIN, 40), "toy-train"),
    "train_file_is_the_test_file": (lambda r: shutil.copy(r / TEST, r / TRAIN), "toy-train"),
    "more_names_than_labels": (write(LABELS, "ant\nbee\ncow\n"), "cow"),
}  # fmt: skip
NO_INFO = {"list": "[1]", "deep": "[" * 50_000, "bytes": b"\xff\xfe{}"}
DAMAGES |= {f"info_{kind}": (write(INFO, c), "dataset_info.json") for kind, c in NO_INFO.items()}
test_a_damaged_set = damaged(DAMAGES, read)
UNPREPARED = {  # TFDS writes into `<version>.incomplete...` and renames at the end
    "half_written": (lambda r: (r / TOY).rename(r / f"{TOY}.incompleteABC123"), "not prepared"),
    "a_file": (both(remove(TOY), write(TOY, "")), "not prepared"),
}
test_a_set_that_is_not_there = damaged(UNPREPARED, read, "")


def test_the_undamaged_set_is_read(root):
    assert read(root).label_names == ("ant", "bee")


NAMES = {"cifar10": "varmixup_jax.data.prepare cifar10"}
NAMES |= dict.fromkeys(["none", "toy:2.0.0", "toy/other"], "not prepared")
ODD = ["", "../toy", "/etc", "toy:latest", "toy:1.0", "töy", "toy\n"]
NAMES |= dict.fromkeys(ODD, "source")


@pytest.mark.parametrize("name", NAMES)
def test_names(name, root):
    with refused(NAMES[name], untouched=[root]):
        read(root, name)


def test_a_root_that_is_not_there(tmp_path):
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "none", tmp_path / "file", "~nobody-here/sets"):
        with refused("not prepared", str(place), untouched=[tmp_path]):
            read(place)
