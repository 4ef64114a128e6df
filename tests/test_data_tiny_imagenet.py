"""The tiny-imagenet-200 folder: made here as it is distributed, and read."""

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


def test_a_changed_image_is_seen_through_the_cache(root):
    before = read(root).fingerprint
    (root / "train/n01/images/n01_2.JPEG").write_bytes(jpeg(999))
    assert read(root).fingerprint != before
