"""CIFAR-C directories and prepared TFDS sets: incomplete, damaged, hostile."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from refusing import accepted_or_refused, bomb_array, bomb_bytes, refused

from varmixup_jax.data.corrupted import open_published

NAMES = ("fog", "contrast")
COUNT = 6
LABELS = np.tile(np.arange(COUNT) % 3, 5)
IMAGES = np.random.default_rng(0).integers(0, 256, (5 * COUNT, 4, 4, 3), np.uint8)


@pytest.fixture
def arrays(tmp_path):
    """Two corruptions of six 4x4 images."""
    root = tmp_path / "CIFAR-10-C"
    root.mkdir()
    np.save(root / "labels.npy", LABELS)
    for name in NAMES:
        np.save(root / f"{name}.npy", IMAGES)
    return root


def saved(name, array):
    return lambda root: np.save(root / f"{name}.npy", array)


def written(name, content):
    return lambda root: (root / name).write_bytes(content)


def cut(name, size):
    return lambda root: (root / name).write_bytes((root / name).read_bytes()[:size])


FOG, SUMS = "fog.npy", "labels.npy"
ARRAYS = {
    "no_file": (lambda root: (root / FOG).unlink(), FOG, "no such file"),
    "no_labels": (lambda root: (root / SUMS).unlink(), SUMS, "no such file"),
    "a_folder": (lambda root: [(root / FOG).unlink(), (root / FOG).mkdir()], FOG),
    "empty": (written(FOG, b""), FOG, "damaged"),
    "text": (written(FOG, b"no array"), FOG, "damaged"),
    "truncated": (cut(FOG, 1000), FOG, "damaged"),
    "header_only": (cut(FOG, 60), FOG, "damaged"),
    "an_npz": (written(FOG, b"PK\x03\x04" + bytes(300)), FOG, "damaged"),
    "float": (saved("fog", IMAGES / 255), FOG, "float64", "uint8"),
    "int64": (saved("fog", IMAGES.astype(int)), FOG, "int64"),
    "one_row_less": (saved("fog", IMAGES[:-1]), FOG, "29", "30"),
    "one_severity": (saved("fog", IMAGES[:COUNT]), FOG, "[6, 4, 4, 3]"),
    "no_rows": (saved("fog", IMAGES[:0]), FOG),
    "grey": (saved("fog", IMAGES[..., :1]), FOG, "[30, 4, 4, 1]"),
    "not_square": (saved("fog", IMAGES[:, :3]), FOG, "[30, 3, 4, 3]"),
    "no_pixels": (saved("fog", IMAGES[:, :0, :0]), FOG, "[30, 0, 0, 3]"),
    "flat": (saved("fog", IMAGES.reshape(30, -1)), FOG, "[30, 48]"),
    "a_scalar": (saved("fog", np.uint8(3)), FOG, "[]"),
    "label_rows": (saved("labels", LABELS[:-1]), SUMS, "(29,)"),
    "label_none": (saved("labels", LABELS[:0]), SUMS, "(0,)"),
    "label_scalar": (saved("labels", np.int64(1)), SUMS, "()"),
    "label_one_hot": (saved("labels", np.eye(3, dtype=int)[LABELS]), SUMS, "(30, 3)"),
    "label_float": (saved("labels", LABELS.astype(float)), SUMS, "float64"),
    "label_text": (saved("labels", LABELS.astype(str)), SUMS, "<U"),
    "label_negative": (saved("labels", LABELS - 1), SUMS, "-1"),
    "label_other_order": (saved("labels", np.sort(LABELS)), SUMS, "differ between severities"),
    "label_truncated": (cut(SUMS, 150), SUMS, "damaged"),
}


@pytest.mark.parametrize("kind", ARRAYS)
def test_a_damaged_directory(kind, arrays):
    change, *names = ARRAYS[kind]
    change(arrays)
    with refused(*names, untouched=[arrays]):
        open_published(arrays, "cifar10", NAMES)


def test_the_undamaged_directory_is_read(arrays):
    opened = open_published(arrays, "cifar10", NAMES)
    assert (opened.count, opened.classes) == (COUNT, 3)


@pytest.mark.parametrize("name", ["fog", "labels"])
def test_a_pickle_is_never_loaded(name, arrays):
    place = arrays / "exploded"
    np.save(arrays / f"{name}.npy", bomb_array(place))
    with refused(f"{name}.npy", untouched=[arrays]):
        open_published(arrays, "cifar10", NAMES)
    (arrays / f"{name}.npy").write_bytes(bomb_bytes(place))
    with refused(f"{name}.npy", untouched=[arrays]):
        open_published(arrays, "cifar10", NAMES)
    assert not place.exists()


@pytest.mark.parametrize("kind", ["cifar10", "cifar100"])
def test_wrong_md5(kind, arrays):
    with refused("labels.npy", "found md5", untouched=[arrays]):
        open_published(arrays, kind, NAMES, md5=True)


@settings(max_examples=100)
@given(at=st.integers(0, 200), byte=st.integers(0, 255), size=st.integers(0, 3000))
def test_damaged_bytes_are_read_or_refused(at, byte, size, tmp_path_factory):
    root = tmp_path_factory.mktemp("set")
    np.save(root / "labels.npy", LABELS)
    buffer = io.BytesIO()
    np.save(buffer, IMAGES)
    content = bytearray(buffer.getvalue())
    content[at] = byte
    (root / FOG).write_bytes(bytes(content[:size] if size % 2 else content))
    accepted_or_refused(lambda: open_published(root, "cifar10", ("fog",)), FOG)


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
def test_arguments(arguments, names, arrays):
    with refused(*names, untouched=[arrays]):
        open_published(**{"path": arrays, "kind": "cifar10", "names": NAMES, **arguments})


BATCHES = [
    (("snow", 1, 2), "name = 'snow'"),
    (("fog", 0, 2), "severity = 0"),
    (("fog", 6, 2), "severity = 6"),
    (("fog", "1", 2), "severity = '1'"),
    (("fog", 1, 0), "batch_size = 0"),
    (("fog", 1, 1.5), "batch_size = 1.5"),
]


@pytest.mark.parametrize(("arguments", "message"), BATCHES, ids=str)
def test_batches(arguments, message, arrays):
    opened = open_published(arrays, "cifar10", NAMES)
    with refused(message):
        next(opened.batches(*arguments))


def test_a_prepared_set_with_nothing_in_it(tmp_path):
    (tmp_path / "cifar10_corrupted").mkdir()
    with refused("fog_1", "tfds build", untouched=[tmp_path]):
        open_published(tmp_path, "cifar10", NAMES)


@pytest.mark.parametrize("info", ["", "{}", "[]", "5", "{", "null", '{"name": "x"}'])
def test_a_prepared_set_with_damaged_metadata(info, tmp_path):
    for name in NAMES:
        for severity in range(1, 6):
            place = tmp_path / "cifar10_corrupted" / f"{name}_{severity}" / "1.0.0"
            place.mkdir(parents=True)
            (place / "dataset_info.json").write_text(info)
            (place / "features.json").write_text(info)
    with refused("fog_1", "cannot be read", untouched=[tmp_path]):
        open_published(tmp_path, "cifar10", NAMES)
