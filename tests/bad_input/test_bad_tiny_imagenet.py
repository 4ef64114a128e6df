"""The tiny-imagenet-200 folder with every part missing or damaged."""

import io
import shutil

import numpy as np
import pytest
from PIL import Image
from refusing import refused

from varmixup_jax.data import load

WNIDS = ("n01", "n02")


def jpeg(seed, side=64, mode="RGB", kind="JPEG"):
    colours = np.random.default_rng(seed).integers(0, 256, (side, side, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(colours).convert(mode).save(buffer, kind)
    return buffer.getvalue()


JPEG = jpeg(0)


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "tiny-imagenet-200"
    for number, wnid in enumerate(WNIDS):
        folder = root / "train" / wnid / "images"
        folder.mkdir(parents=True)
        for row in range(2):
            (folder / f"{wnid}_{row}.JPEG").write_bytes(jpeg(2 * number + row))
    (root / "val" / "images").mkdir(parents=True)
    for row in range(2):
        (root / "val" / "images" / f"val_{row}.JPEG").write_bytes(jpeg(9 + row))
    (root / "val" / "val_annotations.txt").write_text(
        "".join(f"val_{row}.JPEG\t{wnid}\t0\t0\t9\t9\n" for row, wnid in enumerate(WNIDS))
    )
    (root / "wnids.txt").write_text("n02\nn01\n")
    (root / "words.txt").write_text("n01\tant, insect\nn02\tbee\n")
    return root


def read(place):
    return load("tiny_imagenet", data_dir=str(place), val_fraction=0.0, split_seed=0)


def remove(*names):
    def change(root):
        for name in names:
            path = root / name
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    return change


def write(name, content):
    def change(root):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content if isinstance(content, bytes) else content.encode())

    return change


def both(*changes):
    def change(root):
        for one in changes:
            one(root)

    return change


def directory(name):
    return both(remove(name), lambda root: (root / name).mkdir())


def linked(name, target):
    return both(remove(name), lambda root: (root / name).symlink_to(target))


ANNOTATIONS = "val/val_annotations.txt"
IMAGE, VAL = "train/n01/images/n01_0.JPEG", "val/images/val_0.JPEG"
SECOND = "val_1.JPEG\tn02\t0\t0\t9\t9\n"
DAMAGES = {
    "no_train": (remove("train"), "tiny-imagenet-200", "data_dir"),
    "no_val": (remove("val"), "tiny-imagenet-200", "data_dir"),
    "no_annotations": (remove(ANNOTATIONS), ANNOTATIONS, "missing"),
    "annotations_a_folder": (directory(ANNOTATIONS), ANNOTATIONS, "missing"),
    "annotations_empty": (write(ANNOTATIONS, ""), ANNOTATIONS, "2 images without a line"),
    "annotations_half": (write(ANNOTATIONS, SECOND), ANNOTATIONS, "val_0.JPEG"),
    "annotations_bytes": (write(ANNOTATIONS, b"\xff\xfe\x00\t\n"), "val_annotations.txt", "UTF-8"),
    "annotations_spaces": (write(ANNOTATIONS, "val_0.JPEG n01\n"), ANNOTATIONS, "line 1"),
    "annotations_twice": (
        write(ANNOTATIONS, "val_0.JPEG\tn01\n" * 2),
        ANNOTATIONS,
        "line 2",
    ),
    "annotations_unknown_wnid": (
        write(ANNOTATIONS, f"val_0.JPEG\tn77\n{SECOND}"),
        ANNOTATIONS,
        "'n77' on line 1",
    ),
    "annotations_unknown_image": (
        write(ANNOTATIONS, f"val_7.JPEG\tn01\n{SECOND}"),
        ANNOTATIONS,
        "'val_7.JPEG' on line 1",
    ),
    "annotations_path": (
        write(ANNOTATIONS, f"../../train/n01/images/n01_0.JPEG\tn01\n{SECOND}"),
        ANNOTATIONS,
        "line 1",
    ),
    "annotations_absolute": (
        write(ANNOTATIONS, f"/etc/passwd\tn01\n{SECOND}"),
        ANNOTATIONS,
        "'/etc/passwd' on line 1",
    ),
    "wnid_missing": (remove("train/n02"), "train/n02", "missing"),
    "wnid_added": (write("train/n03/images/a.JPEG", JPEG), "train/n03", "not in wnids.txt"),
    "wnids_bytes": (write("wnids.txt", b"\xff\xff"), "wnids.txt", "UTF-8"),
    "wnids_empty": (write("wnids.txt", ""), "train/n01", "not in wnids.txt"),
    "words_bytes": (write("words.txt", b"n01\t\xff\xfe\n"), "words.txt", "UTF-8"),
    "no_class_at_all": (
        both(remove("train", "wnids.txt"), lambda root: (root / "train").mkdir()),
        "n01",
    ),
    "class_without_images": (
        remove("train/n01/images/n01_0.JPEG", "train/n01/images/n01_1.JPEG"),
        "train",
        "no image of class 0",
    ),
    "class_without_folder": (remove("train/n01/images"), "train", "no image of class 0"),
    "no_training_images": (
        remove("train/n01/images", "train/n02/images"),
        "train",
        "0 images",
    ),
    "no_validation_images": (
        both(remove("val/images"), write(ANNOTATIONS, "")),
        "val",
        "0 images",
    ),
    "one_class": (
        both(
            remove("train/n02", "wnids.txt"),
            write(ANNOTATIONS, "val_0.JPEG\tn01\nval_1.JPEG\tn01\n"),
        ),
        "1 class",
    ),
    "image_empty": (write(IMAGE, b""), "n01_0.JPEG", "JPEG"),
    "image_text": (write(IMAGE, "not an image"), "n01_0.JPEG", "JPEG"),
    "image_truncated": (write(IMAGE, JPEG[: len(JPEG) // 2]), "n01_0.JPEG", "JPEG"),
    "image_header_only": (write(IMAGE, JPEG[:20]), "n01_0.JPEG", "JPEG"),
    "image_gif": (write(IMAGE, jpeg(0, kind="GIF")), "n01_0.JPEG", "JPEG"),
    "image_small": (write(IMAGE, jpeg(0, side=32)), "n01_0.JPEG", "(32, 32, 3)", "(64, 64, 3)"),
    "image_large": (write(IMAGE, jpeg(0, side=65)), "n01_0.JPEG", "(65, 65, 3)"),
    "image_a_folder": (directory(IMAGE), "n01_0.JPEG"),
    "image_gone": (linked(IMAGE, "nowhere.JPEG"), "n01_0.JPEG"),
    "image_loop": (linked(IMAGE, "n01_0.JPEG"), "n01_0.JPEG"),
    "val_image_truncated": (write(VAL, JPEG[:500]), "val_0.JPEG", "JPEG"),
    "val_image_small": (write(VAL, jpeg(0, side=8)), "val_0.JPEG", "(8, 8, 3)"),
    "val_image_added": (write("val/images/val_2.JPEG", JPEG), ANNOTATIONS, "val_2.JPEG"),
}


@pytest.mark.parametrize("kind", DAMAGES)
def test_a_damaged_folder(kind, root):
    change, *names = DAMAGES[kind]
    change(root)
    with refused(*names, untouched=[root]):
        read(root)


def test_the_undamaged_folder_is_read(root):
    assert read(root).label_names == ("ant", "bee")


def test_without_its_lists_the_folder_is_still_read(root):
    remove("words.txt", "wnids.txt")(root)
    assert read(root).label_names == WNIDS


@pytest.mark.parametrize("place", ["", "none", "file", "~nobody-here", "x" * 300])
def test_places_that_are_no_folder(place, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    with refused(place, untouched=[tmp_path]):
        read(place)


def test_grey_and_palette_images_are_converted(root):
    write(IMAGE, jpeg(0, mode="L"))(root)
    write(VAL, jpeg(0, mode="CMYK"))(root)
    assert read(root).image_shape == (64, 64, 3)
