"""The tiny-imagenet-200 folder: made here as it is distributed, with every refusal."""

import io

import numpy as np
import pytest
from PIL import Image

from varmixup_jax.data import load

WNIDS = ["n03", "n01", "n02"]  # not sorted, as in wnids.txt
PER_CLASS = 4


def jpeg(seed, side=64, grey=False):
    """The bytes of a smooth JPEG, which survives compression well enough to be told from others."""
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), np.uint8)
    image = Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC)
    buffer = io.BytesIO()
    (image.convert("L") if grey else image).save(buffer, "JPEG")
    return buffer.getvalue()


def decoded(content):
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    root = tmp_path / "tiny-imagenet-200"
    for number, wnid in enumerate(WNIDS):
        folder = root / "train" / wnid / "images"
        folder.mkdir(parents=True)
        (root / "train" / wnid / f"{wnid}_boxes.txt").write_text("boxes\n")
        for row in range(PER_CLASS):
            content = jpeg(10 * number + row, grey=row == 0)
            (folder / f"{wnid}_{row}.JPEG").write_bytes(content)
    images = root / "val" / "images"
    images.mkdir(parents=True)
    lines = []
    for number, wnid in enumerate(["n02", "n03", "n01", "n02"]):
        (images / f"val_{number}.JPEG").write_bytes(jpeg(100 + number))
        lines.append(f"val_{number}.JPEG\t{wnid}\t0\t32\t44\t62\n")
    (root / "val" / "val_annotations.txt").write_text("".join(lines))
    (root / "wnids.txt").write_text("\n".join(WNIDS) + "\n")
    (root / "words.txt").write_text("n01\tgoldfish, Carassius\nn02\tfire salamander\nn09\tother\n")
    (root / "test" / "images").mkdir(parents=True)
    return root


def read(root, **settings):
    settings = {"val_fraction": 0.0, "split_seed": 0, **settings}
    return load("tiny_imagenet", data_dir=str(root), **settings)


def test_labels_are_positions_among_the_sorted_wnids(root):
    data = read(root)
    assert data.name == "tiny_imagenet"
    assert data.label_names == ("goldfish", "fire salamander", "n03")
    assert data.train_labels.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert data.test_labels.tolist() == [1, 2, 0, 1]
    order = [WNIDS.index(wnid) for wnid in sorted(WNIDS)]
    want = [decoded(jpeg(10 * n + row, grey=row == 0)) for n in order for row in range(PER_CLASS)]
    np.testing.assert_array_equal(data.train_images, np.stack(want))
    np.testing.assert_array_equal(
        data.test_images, np.stack([decoded(jpeg(100 + n)) for n in range(4)])
    )


def test_the_parent_folder_will_do_and_the_cache_gives_the_same(root):
    first, second = read(root.parent), read(root)
    assert first.fingerprint == second.fingerprint
    assert len(list((root.parent / "cache/varmixup_jax/decoded").iterdir())) == 1


def test_resize(root):
    assert read(root, resize=32).image_shape == (32, 32, 3)
    assert read(root).image_shape == (64, 64, 3)


def test_a_changed_image_is_seen_through_the_cache(root):
    before = read(root).fingerprint
    (root / "train/n01/images/n01_2.JPEG").write_bytes(jpeg(999))
    assert read(root).fingerprint != before


def annotations(change):
    def apply(root):
        file = root / "val" / "val_annotations.txt"
        lines = file.read_text().splitlines()
        change(lines)
        file.write_text("\n".join(lines) + "\n")

    return apply


def remove_class(root):
    for file in (root / "train/n02/images").iterdir():
        file.unlink()


def remove_folder(root):
    (root / "train/n02").rename(root / "moved")


def truncate(root):
    file = root / "train/n02/images/n02_1.JPEG"
    file.write_bytes(file.read_bytes()[:400])


BAD = {
    "no class images": (remove_class, r"field train: no image of class 1 \(fire salamander\)"),
    "no class folder": (remove_folder, r"field train/n02: missing, must be one folder for each"),
    "unlisted class folder": (
        lambda root: (root / "train/n04").mkdir(),
        r"field train/n04: not in wnids\.txt",
    ),
    "truncated image": (truncate, r"n02_1\.JPEG: not a whole PNG, JPEG"),
    "other size": (
        lambda root: (root / "val/images/val_1.JPEG").write_bytes(jpeg(1, side=32)),
        r"val_1\.JPEG: shape \(32, 32, 3\), must be \(64, 64, 3\)",
    ),
    "no annotations": (
        lambda root: (root / "val/val_annotations.txt").unlink(),
        r"val_annotations\.txt: missing, must be a file of lines",
    ),
    "missing image": (
        lambda root: (root / "val/images/val_2.JPEG").unlink(),
        r"val_annotations\.txt: 'val_2\.JPEG' on line 3, must be an image of val/images",
    ),
    "missing line": (
        annotations(lambda lines: lines.pop()),
        r"val_annotations\.txt: 1 images without a line, such as val_3\.JPEG",
    ),
    "line twice": (
        annotations(lambda lines: lines.append(lines[0])),
        r"val_annotations\.txt: 'val_0\.JPEG' on line 5, .*named once",
    ),
    "unknown wnid": (
        annotations(lambda lines: lines.__setitem__(1, "val_1.JPEG\tn99\t0")),
        r"val_annotations\.txt: 'n99' on line 2, must be one of the wnids",
    ),
    "cut line": (
        annotations(lambda lines: lines.__setitem__(1, "val_1.JPEG")),
        r"val_annotations\.txt: '' on line 2, must be one of the wnids",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_folders_are_refused(root, case):
    spoil, message = BAD[case]
    spoil(root)
    with pytest.raises(ValueError, match=message) as caught:
        read(root)
    assert "\n" not in str(caught.value)


def test_an_empty_part_is_refused(root):
    for file in (root / "val/images").iterdir():
        file.unlink()
    (root / "val/val_annotations.txt").write_text("")
    with pytest.raises(ValueError, match="field val: 0 images, must be 1 image or more"):
        read(root)


@pytest.mark.parametrize("data_dir", [None, "nowhere"])
def test_a_missing_folder_is_refused_with_what_to_unpack(tmp_path, monkeypatch, data_dir):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        ValueError, match=r"data_dir = .*: config.data.dir must be the tiny-imagenet-200 folder"
    ):
        load("tiny_imagenet", data_dir=data_dir, val_fraction=0.1, split_seed=0)
