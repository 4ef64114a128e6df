"""The tiny-imagenet-200 folder as it is distributed, and with every part missing or damaged."""

import io

import numpy as np
import pytest
from damages import both, cut, files, folder, image_bytes, linked, remove, write
from PIL import Image
from refusing import damaged, refused

from varmixup_jax.data import load

WNIDS = ("n01", "n02")


def jpeg(seed, side=64, mode="RGB", kind="JPEG"):
    return image_bytes(side, mode, kind, seed)


LINES, VAL = "val/val_annotations.txt", "val/images/val_0.JPEG"
IMAGE = "train/n01/images/n01_0.JPEG"
FIRST, SECOND = "val_0.JPEG\tn02\t0\t0\t9\t9\n", "val_1.JPEG\tn01\t0\t0\t9\t9\n"
PICTURES = [f"train/{n}/images/{n}_{row}.JPEG" for n in WNIDS for row in (0, 1)]
PICTURES += ["val/images/val_0.JPEG", "val/images/val_1.JPEG"]
FILES = {name: jpeg(seed, mode="RGB" if seed else "L") for seed, name in enumerate(PICTURES)}
FILES |= {
    LINES: FIRST + SECOND,
    "wnids.txt": "n02\nn01\n",
    "words.txt": "n01\tant, insect\nn02\tbee\n",
}


@pytest.fixture
def root(tmp_path):
    files({f"tiny-imagenet-200/{name}": content for name, content in FILES.items()})(tmp_path)
    return tmp_path / "tiny-imagenet-200"


def read(place):
    return load("tiny_imagenet", data_dir=str(place), val_fraction=0.0, split_seed=0)


def lines(text):
    return write(LINES, text)


def image(content):
    return write(IMAGE, content)


DAMAGES = {
    "no_train": (remove("train"), "tiny-imagenet-200", "data_dir"),
    "no_annotations": (remove(LINES), LINES, "missing"),
    "annotations_empty": (lines(""), LINES, "2 images without a line"),
    "annotations_half": (lines(SECOND), LINES, "val_0.JPEG"),
    "annotations_bytes": (lines(b"\xff\xfe\x00\t\n"), "val_annotations.txt", "UTF-8"),
    "annotations_twice": (lines("val_0.JPEG\tn01\n" * 2), LINES, "line 2"),
    "annotations_unknown_wnid": (lines(f"val_0.JPEG\tn77\n{SECOND}"), LINES, "'n77' on line 1"),
    "annotations_path": (lines(f"../../{IMAGE}\tn01\n{SECOND}"), LINES, "line 1"),
    "wnid_missing": (remove("train/n02"), "train/n02", "missing"),
    "wnid_added": (write("train/n03/images/a.JPEG", FILES[IMAGE]), "train/n03", "not in wnids.txt"),
    "wnids_bytes": (write("wnids.txt", b"\xff\xff"), "wnids.txt", "UTF-8"),
    "no_class_at_all": (both(folder("train"), remove("wnids.txt")), "n02"),
    "class_without_images": (remove(IMAGE, IMAGE.replace("_0", "_1")), "train", "no image of class 0"),
    "no_training_images": (remove("train/n01/images", "train/n02/images"), "train", "0 images"),
    "no_validation_images": (both(remove("val/images"), lines("")), "val", "0 images"),
    "image_text": (image("not an image"), "n01_0.JPEG", "JPEG"),
    "image_truncated": (cut(IMAGE, 0.5), "n01_0.JPEG", "JPEG"),
    "image_small": (image(jpeg(0, side=32)), "n01_0.JPEG", "(32, 32, 3)", "(64, 64, 3)"),
    "image_a_folder": (folder(IMAGE), "n01_0.JPEG"),
    "image_loop": (linked(IMAGE, "n01_0.JPEG"), "n01_0.JPEG"),
    "val_image_CMYK": (write(VAL, jpeg(0, mode="CMYK")), "val_0.JPEG", "CMYK"),
    "val_image_added": (write("val/images/val_2.JPEG", FILES[VAL]), LINES, "val_2.JPEG"),
}  # fmt: skip
test_a_damaged_folder = damaged(DAMAGES, read)


def decoded(part):
    shown = [io.BytesIO(FILES[name]) for name in PICTURES if name.startswith(part)]
    return np.stack([np.asarray(Image.open(file).convert("RGB")) for file in shown])


def test_the_undamaged_folder_is_read(root):
    """Label k is the k-th of the sorted wnids; files are in the order of class and name."""
    data = read(root)
    assert (data.name, data.label_names) == ("tiny_imagenet", ("ant", "bee"))
    assert (data.train_labels.tolist(), data.test_labels.tolist()) == ([0, 0, 1, 1], [1, 0])
    np.testing.assert_array_equal(data.train_images, decoded("train"))
    np.testing.assert_array_equal(data.test_images, decoded("val"))
    assert read(root.parent).fingerprint == data.fingerprint  # from the cache
    image(jpeg(99, mode="L"))(root)
    assert read(root).fingerprint != data.fingerprint  # which sees the change
    remove("words.txt", "wnids.txt")(root)
    assert read(root).label_names == WNIDS


@pytest.mark.parametrize("place", ["none", "file", "~nobody-here"])
def test_places_that_are_no_folder(place, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    with refused(place, untouched=[tmp_path]):
        read(place)
