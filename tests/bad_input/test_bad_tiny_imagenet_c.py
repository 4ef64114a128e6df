"""Tiny-ImageNet-C as folders and archives: incomplete, damaged, hostile."""

import io
import tarfile

import pytest
from damages import bomb_bytes, both, write
from PIL import Image
from refusing import refused

from varmixup_jax.data.corrupted import open_published

NAMES = ("fog", "contrast")


def jpeg(side=8):
    buffer = io.BytesIO()
    Image.new("RGB", (side, side), (90, 60, 30)).save(buffer, "JPEG")
    return buffer.getvalue()


def member(name, severity, wnid):
    return f"Tiny-ImageNet-C/{name}/{severity}/{wnid}/test_0.JPEG"


WNIDS, JPEG, FIRST = ("n01", "n02"), jpeg(), member("fog", 1, "n01")
WHOLE = {member(n, s, w): JPEG for n in NAMES for s in range(1, 6) for w in WNIDS}


def open_set(root, **options):
    return open_published(root, "tiny_imagenet", NAMES, **options)


def folder(place, contents):
    (place / "set").mkdir()
    both(*(write(f"set/{name}", content) for name, content in contents.items()))(place)
    return place / "set"


def archive(place, contents, kind="w", extra=()):
    path = place / "set.tar"
    with tarfile.open(path, kind) as tar:
        for name, content in contents.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
        for info in extra:
            tar.addfile(info)
    return path


def without(*parts):
    return {n: c for n, c in WHOLE.items() if not all(f"/{p}/" in n for p in parts)}


def renamed(old, new):
    return {name.replace(old, new): content for name, content in WHOLE.items()}


INCOMPLETE = {
    "nothing": ({}, "classes"),
    "no_corruption": (without("fog"), "fog"),
    "no_severity": (without("fog", "3"), "fog/3"),
    "no_class": (without("fog", "3", "n01"), "fog/3", "1 classes"),
    "one_image_more": (WHOLE | {FIRST.replace("_0", "_1"): JPEG}, "2 to 3 images"),
    "other_names": (renamed("fog", "Fog"), "fog"),
    "severity_zero": (renamed("/1/", "/0/"), "fog/1"),
    "severity_words": (renamed("/1/", "/²/"), "fog/1"),
    "other_suffix": (renamed("JPEG", "png"), "fog/1"),
    "flat": ({n.replace("/n01/", "/"): c for n, c in WHOLE.items() if "n01" in n}, "fog/1"),
}
both_places = pytest.mark.parametrize("place", [folder, archive], ids=["folder", "tar"])


@both_places
@pytest.mark.parametrize("kind", INCOMPLETE)
def test_an_incomplete_tiny_imagenet_c(kind, place, tmp_path):
    contents, *names = INCOMPLETE[kind]
    root = place(tmp_path, contents)
    with refused(root, *names, untouched=[tmp_path]):
        open_set(root)


NO_IMAGES = {
    "empty": b"", "text": b"no image", "truncated": JPEG[:-200], "another_format": b"GIF89a" + bytes(50),
}  # fmt: skip


@both_places
@pytest.mark.parametrize("kind", NO_IMAGES)
def test_a_damaged_image(kind, place, tmp_path):
    root = place(tmp_path, WHOLE | {FIRST: NO_IMAGES[kind]})
    with refused(root, "n01/test_0.JPEG", "damaged image", untouched=[tmp_path]):
        open_set(root).read("fog", 1, 0, 2)


@both_places
def test_images_of_mixed_sizes(place, tmp_path):
    root = place(tmp_path, WHOLE | {FIRST: jpeg(16)})
    with refused(root, "(8, 8, 3)", "(16, 16, 3)"):
        open_set(root).read("fog", 1, 0, 2)


def special(name, kind, target="../../../outside"):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


SPECIAL = [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE]


@pytest.mark.parametrize("kind", SPECIAL)
def test_links_and_devices_are_no_images(kind, tmp_path):
    contents = {n: c for n, c in WHOLE.items() if n != FIRST}
    path = archive(tmp_path, contents, extra=[special(FIRST, kind)])
    with refused("fog/1", "1 classes", untouched=[tmp_path]):
        open_set(path)


HOSTILE = ["../../outside.JPEG", "/tmp/a/b/c/outside.JPEG", "a/../../../b/c/outside.JPEG"]


@pytest.mark.parametrize("name", HOSTILE)
def test_nothing_is_ever_written_beside_the_archive(name, tmp_path):
    place = tmp_path / "deep" / "deeper"
    place.mkdir(parents=True)
    extra = [special("a/b/c/l.JPEG", kind, "/etc") for kind in SPECIAL]
    path = archive(place, WHOLE | {name: b"evil"}, extra=extra)
    before = sorted(tmp_path.rglob("*"))
    assert open_set(path).read("fog", 1, 0, 2)[0].shape == (2, 8, 8, 3)
    assert sorted(tmp_path.rglob("*")) == before


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
        open_set(path)


def test_an_archive_that_is_compressed_or_another_one(tmp_path):
    path = archive(tmp_path, WHOLE, "w:gz")
    with refused(path, "uncompressed tar", untouched=[tmp_path]):
        open_set(path)
    archive(tmp_path, WHOLE)
    with refused(path, "found md5", untouched=[tmp_path]):
        open_set(path, md5=True)
