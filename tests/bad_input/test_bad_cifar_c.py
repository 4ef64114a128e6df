"""CIFAR-C directories and prepared TFDS sets: incomplete, damaged, hostile."""

import io

import numpy as np
import pytest
from damages import bomb_array, bomb_bytes, cut, folder, remove, saved, write
from hypothesis import given, settings
from hypothesis import strategies as st
from refusing import accepted_or_refused, damaged, refused

from varmixup_jax.data.corrupted import open_published

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
    return open_published(path, kind, names, **options)


FOG, SUMS = "fog.npy", "labels.npy"
ARRAYS = {  # in the place of the images of one corruption
    "float": (IMAGES / 255, "float64", "uint8"),
    "int64": (IMAGES.astype(int), "int64"),
    "one_row_less": (IMAGES[:-1], "29", "30"),
    "one_severity": (IMAGES[:COUNT], "[6, 4, 4, 3]"),
    "no_rows": (IMAGES[:0],),
    "grey": (IMAGES[..., :1], "[30, 4, 4, 1]"),
    "not_square": (IMAGES[:, :3], "[30, 3, 4, 3]"),
    "no_pixels": (IMAGES[:, :0, :0], "[30, 0, 0, 3]"),
    "flat": (IMAGES.reshape(30, -1), "[30, 48]"),
    "a_scalar": (np.uint8(3), "[]"),
}
LABELLED = {  # in the place of the labels
    "rows": (LABELS[:-1], "(29,)"),
    "none": (LABELS[:0], "(0,)"),
    "scalar": (np.int64(1), "()"),
    "one_hot": (np.eye(3, dtype=int)[LABELS], "(30, 3)"),
    "float": (LABELS.astype(float), "float64"),
    "text": (LABELS.astype(str), "<U"),
    "negative": (LABELS - 1, "-1"),
    "other_order": (np.sort(LABELS), "differ between severities"),
}
DAMAGES = {
    "no_file": (remove(FOG), FOG, "no such file"),
    "no_labels": (remove(SUMS), SUMS, "no such file"),
    "a_folder": (folder(FOG), FOG),
    "empty": (write(FOG, b""), FOG, "damaged"),
    "text": (write(FOG, b"no array"), FOG, "damaged"),
    "truncated": (cut(FOG, 1000), FOG, "damaged"),
    "header_only": (cut(FOG, 60), FOG, "damaged"),
    "an_npz": (write(FOG, b"PK\x03\x04" + bytes(300)), FOG, "damaged"),
    "label_truncated": (cut(SUMS, 150), SUMS, "damaged"),
}
for file, table in ((FOG, ARRAYS), (SUMS, LABELLED)):
    DAMAGES |= {f"{file}_{k}": (saved(file, a), file, *names) for k, (a, *names) in table.items()}
test_a_damaged_directory = damaged(DAMAGES, read)


def test_the_undamaged_directory_is_read(root):
    assert (read(root).count, read(root).classes) == (COUNT, 3)


@pytest.mark.parametrize("name", [FOG, SUMS])
def test_a_pickle_is_never_loaded(name, root):
    place = root / "exploded"
    for spoil in (saved(name, bomb_array(place)), write(name, bomb_bytes(place))):
        spoil(root)
        with refused(name, untouched=[root]):
            read(root)
    assert not place.exists()


@pytest.mark.parametrize("kind", ["cifar10", "cifar100"])
def test_wrong_md5(kind, root):
    with refused(SUMS, "found md5", untouched=[root]):
        read(root, kind, md5=True)


@settings(max_examples=100)
@given(at=st.integers(0, 200), byte=st.integers(0, 255), size=st.integers(0, 3000))
def test_damaged_bytes_are_read_or_refused(at, byte, size, tmp_path_factory):
    root = tmp_path_factory.mktemp("set")
    saved(SUMS, LABELS)(root)
    buffer = io.BytesIO()
    np.save(buffer, IMAGES)
    content = bytearray(buffer.getvalue())
    content[at] = byte
    write(FOG, bytes(content[:size] if size % 2 else content))(root)
    accepted_or_refused(lambda: read(root, names=("fog",)), FOG)


ARGUMENTS = [
    ({"path": "/nowhere"}, "/nowhere", "nothing"),
    ({"path": "/dev/null"}, "/dev/null"),
    ({"kind": "cifar"}, "kind = 'cifar'"),
    ({"kind": ""}, "kind = ''"),
    ({"kind": None}, "kind = None"),
    ({"names": ("fogg",)}, "names[0] = 'fogg'", "did you mean fog"),
    ({"names": ("fog", "../fog")}, "names[1] = '../fog'"),
    ({"names": ("fog", "/etc/passwd")}, "names[1] = '/etc/passwd'"),
    ({"names": ("labels",)}, "names[0] = 'labels'"),
]


@pytest.mark.parametrize(("arguments", "names"), [(a, n) for a, *n in ARGUMENTS], ids=str)
def test_arguments(arguments, names, root):
    with refused(*names, untouched=[root]):
        read(**{"path": root, **arguments})


BATCHES = [
    ({"name": "snow"}, "name = 'snow'"), ({"severity": 0}, "severity = 0"),
    ({"severity": 6}, "severity = 6"), ({"severity": "1"}, "severity = '1'"),
    ({"batch_size": 0}, "batch_size = 0"), ({"batch_size": 1.5}, "batch_size = 1.5"),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "message"), BATCHES, ids=str)
def test_batches(arguments, message, root):
    with refused(message):
        next(read(root).batches(**{"name": "fog", "severity": 1, "batch_size": 2, **arguments}))


def test_a_prepared_set_with_nothing_in_it(tmp_path):
    (tmp_path / "cifar10_corrupted").mkdir()
    with refused("fog_1", "tfds build", untouched=[tmp_path]):
        read(tmp_path)


@pytest.mark.parametrize("info", ["", "{}", "[]", "5", "{", "null", '{"name": "x"}'])
def test_a_prepared_set_with_damaged_metadata(info, tmp_path):
    for place in (f"{name}_{severity}/1.0.0" for name in NAMES for severity in range(1, 6)):
        for file in ("dataset_info.json", "features.json"):
            write(f"cifar10_corrupted/{place}/{file}", info)(tmp_path)
    with refused("fog_1", "cannot be read", untouched=[tmp_path]):
        read(tmp_path)
