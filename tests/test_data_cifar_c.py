"""CIFAR-C as distributed, by the maker's directory, and as TFDS prepares it."""

import hashlib
import io

import numpy as np
import pytest
from PIL import Image

from varmixup_jax import corruptions
from varmixup_jax.corruptions.make import make
from varmixup_jax.data.corrupted import open_corrupted
from varmixup_jax.data.published import published

NAMES = ("contrast", "pixelate")
N = 7


@pytest.fixture(scope="module")
def arrays():
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (N, 8, 8, 3), dtype=np.uint8), np.arange(N) % 3


@pytest.fixture(scope="module")
def made(tmp_path_factory, arrays):
    return make(tmp_path_factory.mktemp("c"), *arrays, NAMES, batch_size=3, seed=1)


def test_published_directory_streams_in_order(made, arrays):
    labels = arrays[1]
    opened = open_corrupted(made, "cifar10", NAMES)
    assert (len(opened.labels), opened.names) == (N, NAMES)
    batches = list(opened.batches("contrast", 4, 3))
    assert [len(rows) for rows, _ in batches] == [3, 3, 1]
    stored = np.load(made / "contrast.npy")
    np.testing.assert_array_equal(np.concatenate([b for b, _ in batches]), stored[3 * N : 4 * N])
    np.testing.assert_array_equal(np.concatenate([y for _, y in batches]), labels)
    assert batches[0][0].dtype == np.uint8
    assert batches[0][1].dtype == np.int32


def damaged(tmp_path, made, change):
    for name in (*NAMES, "labels"):
        (tmp_path / f"{name}.npy").write_bytes((made / f"{name}.npy").read_bytes())
    change(tmp_path)
    return tmp_path


def test_md5_names_file_found_and_expected(made, tmp_path, monkeypatch):
    made = damaged(tmp_path, made, lambda d: None)  # without the manifest, as published
    with pytest.raises(ValueError, match=r"labels.npy: found md5 \w{32}, expected c439b113"):
        open_corrupted(made, "cifar10", NAMES, md5=True)
    for name in (*NAMES, "labels"):
        md5 = hashlib.md5((made / f"{name}.npy").read_bytes()).hexdigest()
        monkeypatch.setitem(published().registry, f"CIFAR-10-C/{name}.npy", f"md5:{md5}")
    assert open_corrupted(made, "cifar10", NAMES, md5=True).labels.size == N


def test_the_md5_table_covers_every_corruption():
    for folder in ("CIFAR-10-C", "CIFAR-100-C"):
        names = {f"{folder}/{n}.npy" for n in (*corruptions.NAMES, *corruptions.EXTRA, "labels")}
        assert len({published().registry[name] for name in names}) == 20


def test_what_was_made_here_has_no_published_sums(made):
    with pytest.raises(ValueError, match=r"found corruptions.json, which published files"):
        open_corrupted(made, "digits", NAMES, md5=True)


def test_tfds_unprepared_configuration_is_named(tmp_path):
    (tmp_path / "cifar10_corrupted" / "contrast_1").mkdir(parents=True)
    with pytest.raises(ValueError, match=r"tfds build cifar10_corrupted/frosted_glass_blur_1"):
        open_corrupted(tmp_path, "cifar10", ("glass_blur",))


def test_tfds_prepared_sets_are_read(tmp_path, arrays):
    tfds = pytest.importorskip("tensorflow_datasets")
    images, labels = arrays
    features = tfds.features.FeaturesDict(
        {
            "image": tfds.features.Image(shape=(8, 8, 3)),
            "label": tfds.features.ClassLabel(num_classes=3),
        }
    )
    for severity in corruptions.SEVERITIES:
        folder = tmp_path / "cifar10_corrupted" / f"elastic_{severity}" / "1.0.0"
        folder.mkdir(parents=True)
        rows = [
            {"image": Image.fromarray(image // severity), "label": int(label)}
            for image, label in zip(images, labels, strict=True)
        ]
        write_tfds(tfds, folder, f"elastic_{severity}", features, rows)
    opened = open_corrupted(tmp_path, "cifar10", ("elastic_transform",))
    assert len(opened.labels) == N
    (first, classes), _ = opened.batches("elastic_transform", 2, 4)
    np.testing.assert_array_equal(first, images[:4] // 2)
    np.testing.assert_array_equal(classes, labels[:4])


def write_tfds(tfds, folder, config, features, rows):
    """One array_record file and the metadata beside it, as TFDS lays them out."""
    from array_record.python.array_record_module import ArrayRecordWriter
    from tensorflow_datasets.core import example_serializer

    split = tfds.core.SplitInfo(
        name="test",
        shard_lengths=[len(rows)],
        num_bytes=1,
        filename_template=tfds.core.ShardedFileTemplate(
            data_dir=str(folder),
            dataset_name="cifar10_corrupted",
            split="test",
            filetype_suffix="array_record",
        ),
    )
    file = folder / "cifar10_corrupted-test.array_record-00000-of-00001"
    serializer = example_serializer.ExampleSerializer(features.get_serialized_info())
    writer = ArrayRecordWriter(str(file), "group_size:1")
    for row in rows:
        stream = io.BytesIO()
        row["image"].save(stream, "PNG")
        encoded = features.encode_example(row | {"image": io.BytesIO(stream.getvalue())})
        writer.write(serializer.serialize_example(encoded))
    writer.close()
    info = tfds.core.DatasetInfo(
        builder=tfds.core.DatasetIdentity(
            name="cifar10_corrupted",
            config_name=config,
            version=tfds.core.Version("1.0.0"),
            data_dir=str(folder),
            module_name="",
        ),
        features=features,
    )
    info.set_file_format("array_record")
    info.set_splits(tfds.core.SplitDict([split]))
    info.write_to_directory(str(folder))
