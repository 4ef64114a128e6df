"""Published corruption sets as directories and archives: incomplete, damaged, hostile."""

import io
import tarfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from refusing import accepted_or_refused, bomb_array, bomb_bytes, refused

from varmixup_jax.data.cifar_c import open_published

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


def jpeg(side=8):
    buffer = io.BytesIO()
    Image.new("RGB", (side, side), (90, 60, 30)).save(buffer, "JPEG")
    return buffer.getvalue()


JPEG = jpeg()


def members():
    return {
        f"Tiny-ImageNet-C/{name}/{severity}/{wnid}/test_0.JPEG": JPEG
        for name in NAMES
        for severity in range(1, 6)
        for wnid in ("n01", "n02")
    }


def folder(tmp_path, contents):
    for name, content in contents.items():
        path = tmp_path / "set" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    (tmp_path / "set").mkdir(exist_ok=True)
    return tmp_path / "set"


def archive(tmp_path, contents, kind="w", extra=()):
    path = tmp_path / "set.tar"
    with tarfile.open(path, kind) as tar:
        for name, content in contents.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
        for info in extra:
            tar.addfile(info)
    return path


PLACES = {"folder": folder, "tar": archive}
FIRST = "Tiny-ImageNet-C/fog/1/n01/test_0.JPEG"


def without(*parts):
    return {n: c for n, c in members().items() if not all(f"/{p}/" in n for p in parts)}


INCOMPLETE = {
    "nothing": ({}, "classes"),
    "no_corruption": (without("fog"), "fog"),
    "no_severity": (without("fog", "3"), "fog/3"),
    "no_class": (without("fog", "3", "n01"), "fog/3", "1 classes"),
    "one_image_more": (members() | {FIRST.replace("_0", "_1"): JPEG}, "2 to 3 images"),
    "other_names": ({n.replace("fog", "Fog"): c for n, c in members().items()}, "fog"),
    "severity_zero": ({n.replace("/1/", "/0/"): c for n, c in members().items()}, "fog/1"),
    "severity_words": ({n.replace("/1/", "/²/"): c for n, c in members().items()}, "fog/1"),
    "other_suffix": ({n.replace("JPEG", "png"): c for n, c in members().items()}, "fog/1"),
    "flat": ({n.replace("/n01/", "/"): c for n, c in members().items() if "n01" in n}, "fog/1"),
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("kind", INCOMPLETE)
def test_an_incomplete_tiny_imagenet_c(kind, place, tmp_path):
    contents, *names = INCOMPLETE[kind]
    root = PLACES[place](tmp_path, contents)
    with refused(root, *names, untouched=[tmp_path]):
        open_published(root, "tiny_imagenet", NAMES)


IMAGES_IN_IT = {
    "empty": b"",
    "text": b"no image",
    "truncated": JPEG[:-200],
    "another_format": b"GIF89a" + bytes(50),
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("kind", IMAGES_IN_IT)
def test_a_damaged_image(kind, place, tmp_path):
    root = PLACES[place](tmp_path, members() | {FIRST: IMAGES_IN_IT[kind]})
    opened = open_published(root, "tiny_imagenet", NAMES)
    with refused(root, "n01/test_0.JPEG", "damaged image", untouched=[tmp_path]):
        opened.read("fog", 1, 0, 2)


@pytest.mark.parametrize("place", PLACES)
def test_images_of_mixed_sizes(place, tmp_path):
    root = PLACES[place](tmp_path, members() | {FIRST: jpeg(16)})
    opened = open_published(root, "tiny_imagenet", NAMES)
    with refused(root, "(8, 8, 3)", "(16, 16, 3)"):
        opened.read("fog", 1, 0, 2)


def links(name, target="../../../outside"):
    for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE):
        info = tarfile.TarInfo(name)
        info.type, info.linkname = kind, target
        yield info


@pytest.mark.parametrize("number", range(4))
def test_links_and_devices_are_no_images(number, tmp_path):
    info = list(links(FIRST))[number]
    contents = {n: c for n, c in members().items() if n != FIRST}
    path = archive(tmp_path, contents, extra=[info])
    with refused("fog/1", "1 classes", untouched=[tmp_path]):
        open_published(path, "tiny_imagenet", NAMES)


HOSTILE = ["../../outside.JPEG", "/tmp/a/b/c/outside.JPEG", "a/../../../b/c/outside.JPEG"]


@pytest.mark.parametrize("name", HOSTILE)
def test_nothing_is_ever_written_beside_the_archive(name, tmp_path):
    place = tmp_path / "deep" / "deeper"
    place.mkdir(parents=True)
    path = archive(place, members() | {name: b"evil"}, extra=list(links("a/b/c/l.JPEG", "/etc")))
    before = sorted(tmp_path.rglob("*"))
    opened = open_published(path, "tiny_imagenet", NAMES)
    assert opened.read("fog", 1, 0, 2)[0].shape == (2, 8, 8, 3)
    assert sorted(tmp_path.rglob("*")) == before


WHOLE = members()
TARS = {
    "empty": lambda content: b"",
    "text": lambda content: b"no archive" * 100,
    "half": lambda content: content[: len(content) // 2 + 700],
    "cut_in_an_image": lambda content: content[: 512 + 300],
    "cut_in_a_header": lambda content: content[:300],
    "damaged_header": lambda content: content[:2] + b"\xff" + content[3:],
    "pickle": lambda content: bomb_bytes("exploded"),
}


@pytest.mark.parametrize("kind", TARS)
def test_a_damaged_archive(kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = archive(tmp_path, WHOLE)
    path.write_bytes(TARS[kind](path.read_bytes()))
    with refused(path, untouched=[tmp_path]):
        open_published(path, "tiny_imagenet", NAMES)


def test_a_compressed_archive(tmp_path):
    path = archive(tmp_path, WHOLE, "w:gz")
    with refused(path, "uncompressed tar", untouched=[tmp_path]):
        open_published(path, "tiny_imagenet", NAMES)


def test_wrong_md5_of_an_archive(tmp_path):
    path = archive(tmp_path, WHOLE)
    with refused(path, "found md5", untouched=[tmp_path]):
        open_published(path, "tiny_imagenet", NAMES, md5=True)


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
