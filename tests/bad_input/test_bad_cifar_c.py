"""CIFAR-C directories and prepared TFDS sets: incomplete, damaged, hostile."""

import numpy as np
import pytest
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

from varmixup_jax.data.corrupted import open_corrupted

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
    assert read(root).labels.tolist() == LABELS[:COUNT].tolist()


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
