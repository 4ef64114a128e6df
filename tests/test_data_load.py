"""`load`: digits and npz, the split and the limit, derived properties, and every refusal."""

import hashlib

import numpy as np
import pytest
from sklearn.datasets import load_digits

from varmixup_jax.data import Dataset, load, verify


def arrays(classes=3, train=12, test=6, shape=(5, 4, 3)):
    """Valid contents of an .npz file."""
    generator = np.random.default_rng(0)
    return {
        "x_train": generator.integers(0, 256, (train, *shape), np.uint8),
        "y_train": np.arange(train) % classes,
        "x_test": generator.integers(0, 256, (test, *shape), np.uint8),
        "y_test": np.arange(test) % classes,
    }


def save(tmp_path, **changes):
    """Writes valid contents with changes; a change to None drops the field."""
    contents = {**arrays(), **changes}
    path = tmp_path / "set.npz"
    np.savez(path, **{field: value for field, value in contents.items() if value is not None})
    return f"npz:{path}"


def rows(images):
    """A hashable identity of every image."""
    return [image.tobytes() for image in images]


def test_digits_are_the_bundled_images_rescaled_and_their_labels():
    digits = load("digits", val_fraction=0.1, split_seed=0)
    bundle = load_digits()
    label_of = {
        np.rint(image * 255 / 16).astype(np.uint8).tobytes(): label
        for image, label in zip(bundle.images, bundle.target, strict=True)
    }
    seen = []
    for split in ("train", "val", "test"):
        images, labels = getattr(digits, f"{split}_images"), getattr(digits, f"{split}_labels")
        assert images.dtype == np.uint8
        assert labels.dtype == np.int32
        assert images.shape[1:] == digits.image_shape == (8, 8, 1)
        assert [label_of[row] for row in rows(images)] == labels.tolist()
        seen += rows(images)
    assert sorted(seen) == sorted(
        np.rint(i * 255 / 16).astype(np.uint8).tobytes() for i in bundle.images
    )
    assert len(digits.test_images) == 359
    assert digits.label_names == tuple("0123456789")


def test_npz_gives_back_its_arrays_when_nothing_is_held_out(tmp_path):
    contents = arrays()
    data = load(save(tmp_path), val_fraction=0.0, split_seed=0)
    np.testing.assert_array_equal(data.train_images, contents["x_train"])
    np.testing.assert_array_equal(data.train_labels, contents["y_train"])
    np.testing.assert_array_equal(data.test_images, contents["x_test"])
    np.testing.assert_array_equal(data.test_labels, contents["y_test"])
    assert data.val_images.shape == (0, 5, 4, 3)
    assert data.val_labels.shape == (0,)
    assert (data.name, data.label_names, data.num_classes) == ("set", ("0", "1", "2"), 3)
    assert isinstance(data, Dataset)
    assert isinstance(data, tuple)


def test_npz_takes_grey_images_without_a_channel_axis_and_label_names(tmp_path):
    grey = {field: arrays(shape=(4, 4))[field] for field in ("x_train", "x_test")}
    source = save(tmp_path, **grey, label_names=np.array(["a", "b", "c"]))
    data = load(source, val_fraction=0.0, split_seed=0)
    assert data.image_shape == (4, 4, 1)
    assert data.label_names == ("a", "b", "c")


def test_limit_keeps_classes_balanced_and_leaves_val_and_test_whole():
    whole = load("digits", val_fraction=0.1, split_seed=0)
    short = load("digits", val_fraction=0.1, split_seed=0, limit=95)
    other = load("digits", val_fraction=0.3, split_seed=5, limit=50)
    np.testing.assert_array_equal(whole.test_images, other.test_images)
    counts = np.bincount(short.train_labels)
    assert counts.sum() == 95
    assert counts.max() - counts.min() <= 1
    assert set(rows(short.train_images)) <= set(rows(whole.train_images))
    np.testing.assert_array_equal(short.val_images, whole.val_images)
    np.testing.assert_array_equal(short.test_images, whole.test_images)


def test_resize_applies_to_all_three_splits():
    data = load("digits", val_fraction=0.1, split_seed=0, limit=10, resize=4)
    full = load("digits", val_fraction=0.1, split_seed=0, limit=10)
    for split in ("train", "val", "test"):
        small, large = (getattr(d, f"{split}_images").astype(float) for d in (data, full))
        means = large.reshape(-1, 4, 2, 4, 2, 1).mean(axis=(2, 4))
        np.testing.assert_allclose(small, means, atol=1.0)


def test_digests_tell_which_part_of_the_data_differs(tmp_path):
    base = load(save(tmp_path), val_fraction=0.25, split_seed=0)

    def differing(**fields):
        other = base._replace(**fields).digests
        return {name for name, digest in base.digests.items() if other[name] != digest}

    whole = load(save(tmp_path), val_fraction=0.0, split_seed=0)
    pixels, labels = arrays()["x_train"], arrays()["y_train"].astype("<i4")
    by_hand = hashlib.sha256(b"(12, 5, 4, 3)" + pixels.tobytes() + labels.tobytes()).hexdigest()
    assert whole.digests["train"] == whole.fingerprint == by_hand
    assert differing(train_images=base.train_images ^ 1) == {"train"}
    assert differing(train_labels=base.train_labels[::-1]) == {"train", "labels"}
    assert differing(val_labels=base.val_labels[::-1] + 1) == {"val", "labels"}
    assert differing(test_images=base.test_images ^ 1) == {"test"}
    order = np.arange(len(base.test_labels))[::-1]
    turned = {"test_images": base.test_images[order], "test_labels": base.test_labels[order]}
    assert "test" not in differing(**turned)  # nothing that is measured depends on their order
    assert differing(test_labels=np.roll(base.test_labels, 1)) == {"test", "labels"}
    assert differing(name="other", label_names=base.label_names[::-1]) == set()


def test_channel_stats_equal_numpy(tmp_path):
    data = load(save(tmp_path), val_fraction=0.25, split_seed=0)
    mean, std = data.channel_stats()
    unit = data.train_images / 255.0
    np.testing.assert_allclose(mean, unit.mean(axis=(0, 1, 2)), rtol=1e-12)
    np.testing.assert_allclose(std, unit.std(axis=(0, 1, 2)), rtol=1e-12)
    assert all(type(value) is float for value in (*mean, *std))


def test_channel_stats_refuse_a_constant_channel(tmp_path):
    images = arrays()["x_train"]
    images[..., 1] = 7
    data = load(save(tmp_path, x_train=images), val_fraction=0.0, split_seed=0)
    with pytest.raises(ValueError, match="set: channel 1 of the training images is constant"):
        data.channel_stats()


@pytest.mark.parametrize(
    ("source", "near"),
    [
        ("digts", "digits"),
        ("cifar10", "tfds:cifar10"),
        ("tiny-imagenet", "tiny_imagenet"),
        ("tfds:", "tfds:<name>"),
        ("tdfs:cifar100", "tfds:cifar100"),
    ],
)
def test_an_unknown_source_is_refused_with_the_nearest_name(source, near):
    message = rf"source = '{source}': must be one of digits, .* \(did you mean {near}\?\)"
    with pytest.raises(ValueError, match=message):
        load(source, val_fraction=0.0, split_seed=0)


def test_verify_prints_a_table_or_one_line(tmp_path, capsys):
    source = save(tmp_path)
    assert verify.main([source, "--val-fraction", "0.25"]) == 0
    out = capsys.readouterr().out
    data = load(source, val_fraction=0.25, split_seed=0)
    assert [line.split() for line in out.splitlines()[:4]] == [
        ["split", "images", "shape", "classes", "images/class"],
        ["train", "9", "5x4x3", "3", "3"],
        ["val", "3", "5x4x3", "3", "1"],
        ["test", "6", "5x4x3", "3", "2"],
    ]
    assert data.fingerprint in out
    assert verify.main(["npz:none.npz"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
