"""Corrupted images that `make` wrote, from the clean images and back to an evaluation of them."""

import json
import re

import numpy as np
import pytest
from PIL import Image

from varmixup_jax.corruptions import __main__ as command
from varmixup_jax.corruptions import make as making
from varmixup_jax.data import Dataset
from varmixup_jax.data.corrupted import of_test_set, open_corrupted

RNG = np.random.default_rng(0)
CLASSES = tuple(str(k) for k in range(11))
LABELS = np.repeat(np.arange(11), 2).astype(np.int32)
IMAGES = RNG.integers(0, 256, (22, 8, 8, 3), np.uint8)


def dataset(images=IMAGES, labels=LABELS, names=CLASSES, name="toy"):
    return Dataset(name, images, labels, images[:0], labels[:0], images, labels, names)


def make(out, images, *words):
    return command.main(
        ["make", "--out", str(out), "--images", str(images), "--names", "contrast", *words]
    )


def opened(place, data):
    return of_test_set(open_corrupted(place, data.name), data)


def folder(root, images=IMAGES, labels=LABELS, names=CLASSES):
    for row, (image, label) in enumerate(zip(images, labels, strict=True)):
        place = root / names[label]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(place / f"{row:03d}.png")
    return root


def saved(path, images=IMAGES, labels=LABELS, **others):
    np.savez(path, x_test=images, y_test=labels, **others)
    return path


def test_numbered_class_folders_are_in_the_order_of_their_numbers(tmp_path):
    """They were sorted as text, 0, 1, 10, 2, ...: an accuracy of 0.165 in place of 0.918."""
    assert make(tmp_path / "c", folder(tmp_path / "set")) == 0
    np.testing.assert_array_equal(np.load(tmp_path / "c/labels.npy"), np.tile(LABELS, 5))
    assert json.loads((tmp_path / "c/corruptions.json").read_text())["classes"] == [*CLASSES]
    found = opened(tmp_path / "c", dataset())
    np.testing.assert_array_equal(found.labels, LABELS)


def test_classes_are_matched_by_name(tmp_path):
    """A set may number its classes otherwise than the sorted names of the folders do."""
    names = ("zebra", "ant", "mole")
    labels = np.array([0, 0, 0, 1, 1, 2], np.int32)
    data = dataset(IMAGES[:6], labels, names)
    assert make(tmp_path / "c", folder(tmp_path / "set", IMAGES[:6], labels, names)) == 0
    found = opened(tmp_path / "c", data)
    ((images, read),) = found.batches("contrast", 5, 6)
    assert read.tolist() == found.labels.tolist() == [1, 1, 2, 0, 0, 0]
    assert len(images) == 6
    other = dataset(IMAGES[:6], labels, ("zebra", "ant", "vole"))
    with pytest.raises(ValueError, match=r"there: ant, mole, zebra, .*here: zebra, ant, vole, "):
        opened(tmp_path / "c", other)


SWAPPED = np.concatenate([LABELS[1:], LABELS[:1]])
OTHERS = {
    "fewer": (dataset(IMAGES[:-1], LABELS[:-1]), "has 22 images .* must be 21, the test images"),
    "labels": (dataset(labels=np.maximum(LABELS, 1)), r"has 2 images of class 0 \(0\), must be 0"),
    "label_order": (dataset(labels=SWAPPED), "made of other clean images"),
    "pixels": (dataset(IMAGES ^ 1), "made of other clean images"),
    "grey": (dataset(IMAGES[..., :1]), r"has images \[8, 8, 3\], must be \[8, 8, 1\]"),
    "classes": (
        dataset(labels=LABELS % 10, names=CLASSES[:10]),
        "labels up to 10, must be below 10",
    ),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_files_of_other_images_are_refused(kind, tmp_path):
    """Files with the right shape and few enough classes were taken for those of any test set."""
    assert make(tmp_path / "c", saved(tmp_path / "set.npz")) == 0
    data, message = OTHERS[kind]
    with pytest.raises(ValueError, match=message):
        opened(tmp_path / "c", data)


def test_system_folders_are_no_classes_and_other_files_are_counted(tmp_path, capsys):
    """`.ipynb_checkpoints` was class 0, and every label one too large."""
    root = folder(tmp_path / "set")
    for hidden in (".ipynb_checkpoints", "__MACOSX", ".git", "@eaDir"):
        (root / hidden).mkdir()
        Image.fromarray(IMAGES[0]).save(root / hidden / "1.png")
    for name in ("a.gif", "b.gif", "c.tif", "._000.png", "Thumbs.db"):
        (root / "0" / name).write_bytes(b"not an image")
    assert make(tmp_path / "c", root) == 0
    assert capsys.readouterr().err == f"left out of {root}: 1 .db, 2 .gif, 1 .tif\n"
    opened(tmp_path / "c", dataset())


@pytest.mark.parametrize("from_folder", [False, True])
def test_grey_sets_are_made_and_read(from_folder, tmp_path):
    """What was made of a grey set was refused by the evaluation of that set."""
    grey = IMAGES[..., :1]
    images = folder if from_folder else saved
    assert make(tmp_path / "c", images(tmp_path / "set.npz", grey[..., 0])) == 0
    found = opened(tmp_path / "c", dataset(grey))
    assert next(found.batches("contrast", 1, 22))[0].shape == (22, 8, 8, 1)


@pytest.mark.parametrize(("side", "table"), [(32, "cifar"), (33, "tiny_imagenet")])
def test_the_table_goes_by_the_size(side, table, tmp_path):
    """Images of 64 pixels were given the table for 32."""
    images = saved(tmp_path / "set.npz", np.resize(IMAGES, (2, side, side, 3)), LABELS[:2])
    assert make(tmp_path / "c", images) == 0
    assert json.loads((tmp_path / "c/corruptions.json").read_text())["table"] == table


@pytest.mark.parametrize("name", ["toy", "cifar100", "tiny_imagenet"])
def test_what_was_made_is_read_whatever_the_set_is_called(name, tmp_path):
    """For a set called tiny_imagenet, folders of JPEG files were looked for."""
    assert make(tmp_path / "c", saved(tmp_path / "set.npz")) == 0
    order = RNG.permutation(22)  # that of the images does not matter
    found = opened(tmp_path / "c", dataset(IMAGES[order], LABELS[order], name=name))
    assert found.names == ("contrast",)
    np.testing.assert_array_equal(found.labels, LABELS)


def test_a_directory_with_other_files_is_refused(tmp_path, capsys):
    """Files of the same names, such as the published ones, were overwritten."""
    images = saved(tmp_path / "set.npz")
    (tmp_path / "c").mkdir()
    np.save(tmp_path / "c/contrast.npy", IMAGES)
    before = (tmp_path / "c/contrast.npy").read_bytes()
    assert make(tmp_path / "c", images) == 2
    assert "has files and no corruptions.json" in capsys.readouterr().err
    assert (tmp_path / "c/contrast.npy").read_bytes() == before
    assert sorted(path.name for path in (tmp_path / "c").iterdir()) == ["contrast.npy"]


def test_an_interrupted_directory_is_finished_and_no_other_settings_join_it(tmp_path, monkeypatch):
    images = saved(tmp_path / "set.npz")
    words = ("brightness", "--batch_size", "22")
    corrupt = making.corrupt

    def breaks(key, name, *rest):
        if name == "brightness":
            raise KeyboardInterrupt
        return corrupt(key, name, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(making, "corrupt", breaks)
        with pytest.raises(KeyboardInterrupt):
            make(tmp_path / "c", images, *words)
    with pytest.raises(ValueError, match=r"brightness\.npy: found no such file"):
        open_corrupted(tmp_path / "c", "toy")  # half a directory is not a smaller one
    made = (tmp_path / "c/contrast.npy").stat().st_mtime_ns
    assert make(tmp_path / "c", images, *words) == 0
    assert (tmp_path / "c/contrast.npy").stat().st_mtime_ns == made
    assert opened(tmp_path / "c", dataset()).names == ("brightness", "contrast")
    assert make(tmp_path / "c", images, *words, "--seed", "1") == 2
    assert make(tmp_path / "whole", images, *words) == 0
    for name in ("brightness", "contrast"):
        first, second = (np.load(tmp_path / d / f"{name}.npy") for d in ("c", "whole"))
        np.testing.assert_array_equal(first, second)


def test_a_damaged_manifest_is_refused(tmp_path):
    for content in ("", "[]", '{"names": 3}', '{"names": [1]}', '{"seed": 0}'):
        (tmp_path / "corruptions.json").write_text(content)
        with pytest.raises(ValueError, match=re.escape(f"{tmp_path / 'corruptions.json'}: ")):
            open_corrupted(tmp_path, "toy")


def test_a_tilde_is_the_home_directory(tmp_path, monkeypatch):
    """`--out=~/c` made a directory called ~."""
    monkeypatch.setenv("HOME", str(tmp_path))
    saved(tmp_path / "set.npz")
    words = ["--out=~/c", "--images=~/set.npz", "--names", "contrast", "--frost_dir=~/f"]
    assert command.main(["make", *words]) == 2  # no photographs there yet
    assert command.main(["make", *words[:-1]]) == 0
    assert opened("~/c", dataset()).where == str(tmp_path / "c")
