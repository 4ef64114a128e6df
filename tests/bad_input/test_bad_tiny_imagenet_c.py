"""Tiny-ImageNet-C as folders and archives: incomplete, damaged, hostile."""

import io
import tarfile

import pytest
from PIL import Image
from refusing import bomb_bytes, refused

from varmixup_jax.data.corrupted import open_published

NAMES = ("fog", "contrast")


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
