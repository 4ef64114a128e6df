"""`python -m varmixup_jax.corruptions make` with bad arrays, files, folders and words."""

import numpy as np
import pytest
from damages import (
    bomb_array,
    bomb_bytes,
    both,
    empty_folder,
    files,
    image_bytes,
    npz_bytes,
    saved,
    write,
)  # fmt: skip
from refusing import misspoken, rejected

from varmixup_jax.corruptions import make
from varmixup_jax.corruptions.__main__ import main

IMAGES = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3), np.uint8)
LABELS = np.arange(4) % 2
FROST = ["frost1.png", "frost2.png", "frost3.png", "frost4.jpg", "frost5.jpg"]


ZIP = "make --out out --images set.npz"
LABELLED = "make --out out --images {0} --labels {0}"  # no archive: two files of arrays


def archive(images=IMAGES, labels=LABELS, **others):
    return write("set.npz", npz_bytes(images=images, labels=labels, **others))


PICTURES = {  # in the place of the images
    "float": (IMAGES / 255, "float64", "uint8"), "nan": (np.full((4, 8, 8, 3), np.nan), "float64"),
    "bool": (IMAGES > 9, "bool"), "text": (IMAGES.astype(str), "<U"),
    "small": (IMAGES[:, :7, :7], "(4, 7, 7, 3)", "S >= 8"),
    "not_square": (IMAGES[:, :, :7], "(4, 8, 7, 3)"),
    "two_channels": (IMAGES[..., :2], "(4, 8, 8, 2)"),
    "alpha": (IMAGES[..., [0, 1, 2, 0]], "(4, 8, 8, 4)"), "a_scalar": (np.uint8(1), "()"),
    "flat": (IMAGES.reshape(4, -1), "(4, 192)"), "five_axes": (IMAGES[None], "(1, 4, 8, 8, 3)"),
}  # fmt: skip
CLASSES = {  # in the place of the labels
    "fewer": (LABELS[:3], "(3,)", "[4]"), "one_hot": (np.eye(2, dtype=int)[LABELS], "(8,)"),
    "float": (LABELS / 2, "float64"), "nan": (np.full(4, np.nan), "nan"),
    "text": (LABELS.astype(str), "<U"), "negative": (LABELS - 1, "-1"),
}  # fmt: skip
ARRAYS = {"no_images": ({"images": IMAGES[:0], "labels": LABELS[:0]}, "images", "(0, 8, 8, 3)")}
for field, table in (("images", PICTURES), ("labels", CLASSES)):
    ARRAYS |= {f"{field}_{k}": ({field: a}, field, *names) for k, (a, *names) in table.items()}


ARCHIVES = {kind: (archive(**fields), *names) for kind, (fields, *names) in ARRAYS.items()} | {
    "no_field_images": (archive(images=None, pictures=IMAGES), "images", "pictures"),
    "no_field_labels": (archive(labels=None, classes=LABELS), "labels", "classes"),
    "pickle_images": (archive(images=bomb_array("exploded")), "set.npz"),
    "pickle_labels": (archive(labels=bomb_array("exploded")), "set.npz"),
    "pickle": (write("set.npz", bomb_bytes("exploded")), "set.npz"),
    "truncated": (write("set.npz", npz_bytes(images=IMAGES, labels=LABELS)[:-40]), "set.npz"),
}
test_archives = rejected(main, ARCHIVES, ZIP)
CONTENTS = {"empty": b"", "text": b"no arrays", "zip": b"PK\x03\x04" + bytes(60), "one": b"\x93"}
FILES = ("set.npz", "x.npy", "set")


@pytest.mark.parametrize("kind", CONTENTS)
@pytest.mark.parametrize("name", FILES)
def test_damaged_files(kind, name, root, refuses):
    write(name, CONTENTS[kind])(root)
    refuses(main, [*["make", "--out", "out", "--labels"], name, "--images", name], name)


X_ALONE = "make --out out --images x.npy"
PICKLED = both(saved("x.npy", IMAGES), saved("y.npy", bomb_array("exploded")))
test_labels_of_an_array = rejected(
    main,
    {
        X_ALONE: (saved("x.npy", IMAGES), "--labels"),
        f"{X_ALONE} --labels none.npy": (saved("x.npy", IMAGES), "none.npy"),
        f"{X_ALONE} --labels .": (saved("x.npy", IMAGES), "--labels", "."),
        f"{X_ALONE} --labels y.npy": (PICKLED, "y.npy"),
    },
)


def pictures(**sides):
    """Folders of one square picture each, of these sides."""
    return files(
        {f"set/{name}/1.png": image_bytes(side, kind="PNG") for name, side in sides.items()}
    )


FOLDERS = {
    "empty": (empty_folder("set"), "no class"), "no_images": (empty_folder("set/ant"), "class 'ant'"),
    "mixed": (pictures(a=8, b=9), "sizes (8, 8) to (9, 9)"), "small": (pictures(a=5), "(1, 5, 5, 3)"),
    "damaged": (both(pictures(a=8), write("set/a/2.png", b"\x89PNG\r\n\x1a\n..")), "2.png"),
    "empty_file": (both(pictures(a=8), write("set/a/2.jpg", b"")), "2.jpg"),
    "folder": (both(pictures(a=8), empty_folder("set/a/2.png")), "2.png"),
}  # fmt: skip
test_folders = rejected(main, FOLDERS, "make --out out --images set")
FROST = [f"frost/frost{name}" for name in ("1.png", "2.png", "3.png", "4.jpg", "5.jpg")]
OPTIONS = {
    "contrast --seed -1": (archive(), "seed = -1"),
    "contrast --batch_size 0": (archive(), "batch_size = 0"),
    "contrast --batch_size -5": (archive(), "batch_size = -5"),
    "contrast --frost_dir /nowhere": (archive(), "frost_dir = '/nowhere'"),
    "contrast --out taken": (both(archive(), write("taken", "mine")), "taken"),
    "contrast --out taken/below": (both(archive(), write("taken", "mine")), "taken"),
    "frost --frost_dir frost": (both(archive(), files(dict.fromkeys(FROST, "no"))), "frost1.png"),
    "frost --frost_dir ./frost": (
        both(archive(), files(dict.fromkeys(FROST, image_bytes(16)))), "size = 8",
    ),
}  # fmt: skip
test_options = rejected(main, {f"{ZIP} --names {words}": row for words, row in OPTIONS.items()})
BOTH = "make --out x --images y"
MORE = ["--names fogg", "--names ../fog", "--names", "--table cifar10", "--seed one"]
MORE += ["--batch_size 1.5", "--severity 3"]
PARTS = ["", "mak", "make", "make --out x", "make --images x"]
test_words_that_are_not_understood = misspoken(main, *PARTS, *(f"{BOTH} {more}" for more in MORE))


def test_an_interrupted_file_leaves_nothing_under_its_name(tmp_path, monkeypatch):
    def breaks(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(make, "corrupt", breaks)
    with pytest.raises(KeyboardInterrupt):
        make.make(tmp_path / "out", IMAGES, LABELS, ["contrast"])
    found = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert found == ["corruptions.json", "labels.npy"]
