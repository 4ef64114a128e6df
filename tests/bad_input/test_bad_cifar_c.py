"""CIFAR-C directories and prepared TFDS sets: whole, incomplete, damaged, hostile."""

import hashlib

import numpy as np
import pytest
import tensorflow_datasets as tfds
from damages import (
    bomb_array,
    bomb_bytes,
    cut,
    empty_folder,
    files,
    folder,
    npy_bytes,
    remove,
    saved,
    spoiled,
    write,
)  # fmt: skip
from hypothesis import given, settings
from refusing import accepted_or_refused, damaged, refused
from tfds_writer import pairs, write_prepared

from varmixup_jax import corruptions
from varmixup_jax.data.corrupted import open_corrupted
from varmixup_jax.data.published import published

NAMES = ("fog", "contrast")
COUNT = 6
LABELS = np.tile(np.arange(COUNT) % 3, 5)
IMAGES = np.random.default_rng(0).integers(0, 256, (5 * COUNT, 4, 4, 3), np.uint8)


@pytest.fixture
def root(tmp_path):
    """Two corruptions of six 4x4 images."""
    for name, array in (("labels", LABELS), *((name, IMAGES) for name in NAMES)):
        saved(f"{name}.npy", array)(tmp_path)
    return tmp_path


def read(path, kind="cifar10", names=NAMES, **options):
    return open_corrupted(path, kind, names, **options)


FOG, SUMS = "fog.npy", "labels.npy"
ARRAYS = {  # in the place of the images of one corruption
    "float": (IMAGES / 255, "float64", "uint8"), "one_row_less": (IMAGES[:-1], "29", "30"),
    "two_channels": (IMAGES[..., :2], "[30, 4, 4, 2]"), "not_square": (IMAGES[:, :3], "[30, 3, 4, 3]"),
    "no_pixels": (IMAGES[:, :0, :0], "[30, 0, 0, 3]"), "a_scalar": (np.uint8(3), "[]"),
}  # fmt: skip
LABELLED = {  # in the place of the labels
    "rows": (LABELS[:-1], "(29,)"), "none": (LABELS[:0], "(0,)"), "scalar": (np.int64(1), "()"),
    "float": (LABELS.astype(float), "float64"), "negative": (LABELS - 1, "-1"),
    "other_order": (np.sort(LABELS), "differ between severities"),
}  # fmt: skip
DAMAGES = {
    "no_file": (remove(FOG), FOG, "no such file"),
    "no_labels": (remove(SUMS), SUMS, "no such file"), "a_folder": (folder(FOG), FOG),
    "empty": (write(FOG, b""), FOG, "damaged"), "truncated": (cut(FOG, 1000), FOG, "damaged"),
    "an_npz": (write(FOG, b"PK\x03\x04" + bytes(300)), FOG, "damaged"),
    "label_truncated": (cut(SUMS, 150), SUMS, "damaged"),
}  # fmt: skip
DAMAGES |= {f"{file}_pickle": (write(file, bomb_bytes("exploded")), file) for file in (FOG, SUMS)}
DAMAGES |= {f"{file}_objects": (saved(file, bomb_array("exploded")), file) for file in (FOG, SUMS)}
for file, table in ((FOG, ARRAYS), (SUMS, LABELLED)):
    DAMAGES |= {f"{file}_{k}": (saved(file, a), file, *names) for k, (a, *names) in table.items()}
test_a_damaged_directory = damaged(DAMAGES, read)


def test_the_undamaged_directory_is_read(root):
    found = read(root)
    assert (found.labels.tolist(), found.names) == (LABELS[:COUNT].tolist(), NAMES)
    (first, labels), (rest, last) = found.batches("contrast", 4, 4)
    assert (first.dtype, labels.dtype, len(rest)) == (np.uint8, np.int32, 2)
    np.testing.assert_array_equal([*first, *rest], IMAGES[3 * COUNT : 4 * COUNT])
    np.testing.assert_array_equal([*labels, *last], LABELS[:COUNT])


def test_md5_names_file_found_and_expected(root, monkeypatch):
    with refused(SUMS, "found md5", "expected c439b113", untouched=[root]):
        read(root, md5=True)
    for name in (*NAMES, "labels"):
        md5 = hashlib.md5((root / f"{name}.npy").read_bytes()).hexdigest()
        monkeypatch.setitem(published().registry, f"CIFAR-10-C/{name}.npy", f"md5:{md5}")
    assert read(root, md5=True).labels.size == COUNT
    write("corruptions.json", '{"names": ["fog", "contrast"]}')(root)
    with refused("found corruptions.json, which published files"):
        read(root, "digits", md5=True)


def test_the_md5_table_covers_every_corruption():
    for place in ("CIFAR-10-C", "CIFAR-100-C"):
        names = {f"{place}/{n}.npy" for n in (*corruptions.NAMES, *corruptions.EXTRA, "labels")}
        assert len({published().registry[name] for name in names}) == 20


def test_tfds_prepared_sets_are_read(tmp_path):
    images, labels = IMAGES[:COUNT], LABELS[:COUNT]
    tfds.disable_progress_bar()
    for severity in corruptions.SEVERITIES:
        split = {"test": (images // severity, labels)}
        place = tmp_path / "cifar10_corrupted"
        write_prepared(f"elastic_{severity}", "1.0.0", split, map(str, range(3)), place)
    ((found, classes),) = read(tmp_path, names=("elastic_transform",)).batches(
        "elastic_transform", 2, COUNT
    )
    assert pairs(found, classes) == pairs(images // 2, labels)  # TFDS shuffles when it writes
    with refused("tfds build cifar10_corrupted/frosted_glass_blur_1"):
        read(tmp_path, names=("glass_blur",))


@settings(max_examples=60)
@given(content=spoiled(npy_bytes(IMAGES), reach=200))
def test_damaged_bytes_are_read_or_refused(content, root):
    write(FOG, content)(root)
    accepted_or_refused(lambda: read(root, names=("fog",)), FOG)


ARGUMENTS = [
    ({"path": "/nowhere"}, "/nowhere", "nothing"), ({"path": "/dev/null"}, "/dev/null"),
    ({"kind": "cifar", "md5": True}, "md5 sums of = 'cifar'"),
    ({"names": ("fogg",)}, "names[0] = 'fogg'", "did you mean fog"),
    ({"names": ("fog", "../fog")}, "names[1] = '../fog'"),
    ({"names": ("fog", "/etc/passwd")}, "names[1] = '/etc/passwd'"),
    ({"names": ("labels",)}, "names[0] = 'labels'"),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "names"), [(a, n) for a, *n in ARGUMENTS], ids=str)
def test_arguments(arguments, names, root):
    with refused(*names, untouched=[root]):
        read(**{"path": root, **arguments})


BATCHES = [
    ({"name": "snow"}, "name = 'snow'"), ({"severity": 6}, "severity = 6"),
    ({"batch_size": 0}, "batch_size = 0"),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "message"), BATCHES, ids=str)
def test_batches(arguments, message, root):
    with refused(message):
        next(read(root).batches(**{"name": "fog", "severity": 1, "batch_size": 2, **arguments}))


PLACES = [
    f"cifar10_corrupted/{name}_{severity}/1.0.0" for name in NAMES for severity in range(1, 6)
]
PREPARED = {"nothing": (empty_folder("cifar10_corrupted"), "fog_1", "tfds build")} | {
    info: (
        files({f"{p}/{f}": info for p in PLACES for f in ("dataset_info.json", "features.json")}),
        *("fog_1", "cannot be read"),
    )
    for info in ("", "{}", "5", '{"name": "x"}')
}


@pytest.mark.parametrize("kind", PREPARED)
def test_a_prepared_set(kind, tmp_path):
    damage, *names = PREPARED[kind]
    damage(tmp_path)
    with refused(*names, untouched=[tmp_path]):
        read(tmp_path)
