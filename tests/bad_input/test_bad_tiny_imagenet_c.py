"""Tiny-ImageNet-C as folders and archives: whole, incomplete, damaged, hostile."""

import io
import itertools
import tarfile

import numpy as np
import pytest
from damages import (
    bomb_bytes,
    both,
    empty_folder,
    files,
    image_bytes,
    special,
    tar_bytes,
    write,
)  # fmt: skip
from PIL import Image
from refusing import damaged, refused, unchanged

from varmixup_jax.data.corrupted import open_corrupted

NAMES = ("fog", "contrast")


def member(name, severity, wnid):
    return f"Tiny-ImageNet-C/{name}/{severity}/{wnid}/test_0.JPEG"


WNIDS, JPEG, FIRST = ("n01", "n02"), image_bytes(8), member("fog", 1, "n01")
WHOLE = {member(n, s, w): JPEG for n in NAMES for s in range(1, 6) for w in WNIDS}


def open_set(root, **options):
    return open_corrupted(root, "tiny_imagenet", NAMES, **options)


def read(root):
    return open_set(root).read("fog", 1, 0, 2)[0]


def without(*parts):
    return {n: c for n, c in WHOLE.items() if not all(f"/{p}/" in n for p in parts)}


def renamed(old, new):
    return {name.replace(old, new): content for name, content in WHOLE.items()}


INCOMPLETE = {
    "nothing": ({}, "classes"),
    "no_corruption": (without("fog"), "fog"),
    "no_severity": (without("fog", "3"), "fog/3"),
    "no_class": (without("fog", "3", "n01"), "fog/3", "1 classes"),
    "one_image_more": (
        WHOLE | {FIRST.replace("_0", "_1"): JPEG},
        "found 2 images, expected 3, as many",
    ),
    "severity_words": (renamed("/1/", "/²/"), "fog/1"),
    "other_suffix": (renamed("JPEG", "png"), "fog/1"),
    "flat": ({n.replace("/n01/", "/"): c for n, c in WHOLE.items() if "n01" in n}, "fog/1"),
}
NO_IMAGES = {"empty": b"", "truncated": JPEG[:-200], "another_format": b"GIF89a" + bytes(50)}
CONTENTS = INCOMPLETE | {
    f"image_{kind}": (WHOLE | {FIRST: content}, "n01/test_0.JPEG", "not a whole")
    for kind, content in NO_IMAGES.items()
}
CONTENTS["image_larger"] = (WHOLE | {FIRST: image_bytes(16)}, "(8, 8, 3)", "(16, 16, 3)")
FOLDERS = {
    kind: (both(empty_folder("set"), files({f"set/{n}": c for n, c in contents.items()})), *names)
    for kind, (contents, *names) in CONTENTS.items()
}
test_folders = damaged(FOLDERS, lambda root: read(root / "set"), "set")

SPECIAL = [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE]
TAR = tar_bytes(WHOLE)
TARS = {kind: (tar_bytes(contents), *names) for kind, (contents, *names) in CONTENTS.items()}
TARS |= {  # links and devices are no images
    f"special_{kind}": (
        tar_bytes(WHOLE | {FIRST: None}, extra=[special(FIRST, kind)]), "fog/1", "1 classes",
    )
    for kind in SPECIAL
}  # fmt: skip
TARS |= {
    "empty": (b"",),
    "half": (TAR[: len(TAR) // 2 + 700],),
    "cut_in_an_image": (TAR[: 512 + 300],),
    "pickle": (bomb_bytes("exploded"),),
    "compressed": (tar_bytes(WHOLE, "w:gz"), "uncompressed tar"),
}
TARS = {kind: (write("set.tar", content), *names) for kind, (content, *names) in TARS.items()}
test_tars = damaged(TARS, lambda root: read(root / "set.tar"), "set.tar")


def picture(seed):
    return image_bytes(8, "L" if seed % 2 else "RGB", seed=seed)


@pytest.mark.parametrize("packed", [False, True])
def test_folders_and_tars_are_read_in_order(packed, tmp_path):
    contents = {
        member(n, s, w).replace("_0", f"_{i}"): picture(8 * s + 2 * k + i)
        for n, s in itertools.product(NAMES, range(1, 6))
        for k, w in enumerate(WNIDS)
        for i in (0, 1)
    }
    damage = write("set.tar", tar_bytes(contents)) if packed else files(contents)
    damage(tmp_path)
    found = open_corrupted(tmp_path / "set.tar" if packed else tmp_path, "tiny_imagenet", NAMES)
    (images, labels), (rest, last) = found.batches("contrast", 3, 3)
    assert (labels.tolist(), last.tolist(), len(found.labels)) == ([0, 0, 1], [1], 4)
    shown = [np.asarray(Image.open(io.BytesIO(picture(i))).convert("RGB")) for i in range(24, 28)]
    np.testing.assert_array_equal([*images, *rest], shown)


def test_another_archive(tmp_path):
    write("set.tar", TAR)(tmp_path)
    with refused(tmp_path / "set.tar", "found md5", untouched=[tmp_path]):
        open_set(tmp_path / "set.tar", md5=True)


HOSTILE = ["../../outside.JPEG", "/tmp/a/b/c/outside.JPEG", "a/../../../b/c/outside.JPEG"]


@pytest.mark.parametrize("name", HOSTILE)
def test_nothing_is_ever_written_beside_the_archive(name, tmp_path):
    extra = [special("a/b/c/l.JPEG", kind, "/etc") for kind in SPECIAL]
    write("deep/deeper/set.tar", tar_bytes(WHOLE | {name: b"evil"}, extra=extra))(tmp_path)
    with unchanged(tmp_path):
        assert read(tmp_path / "deep/deeper/set.tar").shape == (2, 8, 8, 3)
