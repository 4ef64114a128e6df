"""The original archives, made here in small, to prepared TFDS sets; downloads; the command."""

import gzip
import hashlib
import io
import tarfile

import numpy as np
import pytest
import scipy.io
import tensorflow_datasets as tfds

from varmixup_jax.data import download, load, prepare
from varmixup_jax.data.originals import ORIGINALS, File

PER_CLASS = {"train": 5, "test": 2}  # CIFAR-10 has five training files


@pytest.fixture(autouse=True)
def own_folders(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("TFDS_DATA_DIR", raising=False)
    tfds.disable_progress_bar()


def pictures(split, classes, shape):
    """Images `[N, H, W, C]` and labels of one split."""
    count = PER_CLASS[split] * classes
    generator = np.random.default_rng(count)
    return generator.integers(0, 256, (count, *shape), np.uint8), np.arange(count) % classes


def write_tar(path, members):
    with tarfile.open(path, "w:gz") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))


def cifar_records(images, *labels):
    """The binary version by hand: label bytes, then the red, green and blue planes."""
    return b"".join(
        bytes(int(label[row]) for label in labels)
        + b"".join(image[:, :, channel].tobytes() for channel in range(3))
        for row, image in enumerate(images)
    )


def cifar10_members():
    images, labels = pictures("train", 10, (32, 32, 3))
    members = {
        f"cifar-10-batches-bin/data_batch_{n + 1}.bin": cifar_records(
            images[10 * n : 10 * n + 10], labels[10 * n : 10 * n + 10]
        )
        for n in range(5)
    }
    members["cifar-10-batches-bin/test_batch.bin"] = cifar_records(
        *pictures("test", 10, (32, 32, 3))
    )
    names = "".join(f"class {k}\n" for k in range(10)) + "\n"
    members["cifar-10-batches-bin/batches.meta.txt"] = names.encode()
    return members


def make_cifar10(folder):
    path = folder / "cifar-10-binary.tar.gz"
    write_tar(path, {"cifar-10-batches-bin/readme.html": b"not read", **cifar10_members()})
    return path


def make_cifar100(folder):
    members = {}
    for split in PER_CLASS:
        images, labels = pictures(split, 100, (32, 32, 3))
        members[f"cifar-100-binary/{split}.bin"] = cifar_records(images, labels // 5, labels)
    for kind, count in (("coarse", 20), ("fine", 100)):
        names = "".join(f"{kind} {k}\n" for k in range(count))
        members[f"cifar-100-binary/{kind}_label_names.txt"] = names.encode()
    write_tar(folder / "cifar-100-binary.tar.gz", members)
    return folder


def make_svhn(folder):
    for split in PER_CLASS:
        images, labels = pictures(split, 10, (32, 32, 3))
        stored = np.where(labels == 0, 10, labels).astype(np.uint8)[:, None]
        contents = {"X": images.transpose(1, 2, 3, 0), "y": stored}
        scipy.io.savemat(folder / f"{split}_32x32.mat", contents, do_compression=True)
    return folder


def idx(values):
    """An IDX file by hand, see http://yann.lecun.com/exdb/mnist/."""
    sizes = b"".join(size.to_bytes(4, "big") for size in values.shape)
    return gzip.compress(bytes([0, 0, 8, values.ndim]) + sizes + values.tobytes())


def make_fashion(folder):
    for split, prefix in (("train", "train"), ("test", "t10k")):
        images, labels = pictures(split, 10, (28, 28))
        (folder / f"{prefix}-images-idx3-ubyte.gz").write_bytes(idx(images))
        (folder / f"{prefix}-labels-idx1-ubyte.gz").write_bytes(idx(labels.astype(np.uint8)))
    return folder


MAKERS = {
    "cifar10": (make_cifar10, 10, (32, 32, 3)),
    "cifar100": (make_cifar100, 100, (32, 32, 3)),
    "svhn_cropped": (make_svhn, 10, (32, 32, 3)),
    "fashion_mnist": (make_fashion, 10, (28, 28, 1)),
}


def pairs(images, labels):
    return sorted(
        (image.tobytes(), int(label)) for image, label in zip(images, labels, strict=True)
    )


@pytest.mark.parametrize("name", MAKERS)
def test_originals_become_a_set_that_load_and_tfds_read(tmp_path, capsys, name):
    make, classes, shape = MAKERS[name]
    root = tmp_path / "root"
    command = [name, "--data-dir", str(root), "--from", str(make(tmp_path)), "--no-checksum"]
    assert prepare.main(command) == 0
    folder = root / name / ORIGINALS[name].version
    assert str(folder) in capsys.readouterr().out

    data = load(f"tfds:{name}", data_dir=str(root), val_fraction=0.0, split_seed=0)
    assert data.name == name
    assert data.image_shape == shape
    for split in PER_CLASS:
        got = getattr(data, f"{split}_images"), getattr(data, f"{split}_labels")
        assert pairs(*got) == pairs(*pictures(split, classes, shape))

    # TFDS's own builder of that name finds it, with its own features, and reads the same.
    source = tfds.data_source(name, data_dir=str(root), split="test")
    theirs = pairs([e["image"] for e in source], [e["label"] for e in source])
    assert theirs == pairs(data.test_images, data.test_labels)
    published = tfds.builder(name, data_dir=str(tmp_path / "nothing")).info.features
    assert set(source[0]) == set(published)
    written = tfds.builder_from_directory(str(folder)).info.features
    assert {key: repr(written[key]) for key in written} == {
        key: repr(published[key]) for key in written
    }
    if "id" in source[0]:
        rows = sorted(e["id"].decode() for e in source)
        digits = ORIGINALS[name].id_digits
        assert rows == [f"test_{row:0{digits}d}" for row in range(PER_CLASS["test"] * classes)]


def test_a_second_run_leaves_the_prepared_set_alone(tmp_path):
    archive = make_cifar10(tmp_path)
    settings = {"data_dir": str(tmp_path / "root"), "check_originals": False}
    folder = prepare.prepare("cifar10", origin=str(archive), **settings)
    before = {file: file.stat().st_mtime_ns for file in folder.iterdir()}
    assert prepare.prepare("cifar10", origin="not needed", **settings) == folder
    assert {file: file.stat().st_mtime_ns for file in folder.iterdir()} == before


def test_cifar100_keeps_coarse_labels_and_class_names(tmp_path):
    root = tmp_path / "root"
    settings = {"origin": str(make_cifar100(tmp_path)), "check_originals": False}
    prepare.prepare("cifar100", data_dir=str(root), **settings)
    source = tfds.data_source("cifar100", data_dir=str(root), split="test")
    assert all(example["coarse_label"] == example["label"] // 5 for example in source)
    data = load("tfds:cifar100", data_dir=str(root), val_fraction=0.0, split_seed=0)
    assert data.label_names == tuple(f"fine {k}" for k in range(100))


def cut(path, keep=0.5):
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * keep)])


def respoil_tar(folder, change):
    members = cifar10_members()
    change(members)
    write_tar(folder / "cifar-10-binary.tar.gz", members)


BIN = "cifar-10-batches-bin/data_batch_3.bin"
BAD = {
    "cut tar": (
        "cifar10",
        lambda f: cut(f / "cifar-10-binary.tar.gz"),
        r"binary\.tar\.gz: truncated",
    ),
    "no member": (
        "cifar10",
        lambda f: respoil_tar(f, lambda members: members.pop(BIN)),
        r"binary\.tar\.gz: no member cifar-10-batches-bin/data_batch_3\.bin, must have",
    ),
    "member elsewhere": (
        "cifar10",
        lambda f: respoil_tar(f, lambda m: m.update({"../" + BIN: m.pop(BIN)})),
        r"no member cifar-10-batches-bin/data_batch_3\.bin",
    ),
    "cut member": (
        "cifar10",
        lambda f: respoil_tar(f, lambda m: m.update({BIN: m[BIN][:-1]})),
        r"data_batch_3\.bin: 30729 bytes, must be whole records of 3073",
    ),
    "label": (
        "cifar10",
        lambda f: respoil_tar(f, lambda m: m.update({BIN: b"\x0b" + m[BIN][1:]})),
        r"train label: 11, must be in 0\.\.9",
    ),
    "cut mat": (
        "svhn_cropped",
        lambda f: cut(f / "test_32x32.mat"),
        r"test_32x32\.mat: not a whole",
    ),
    "mat label": (
        "svhn_cropped",
        lambda f: scipy.io.savemat(
            f / "test_32x32.mat",
            {"X": np.zeros((32, 32, 3, 4), np.uint8), "y": np.array([[1], [2], [0], [3]])},
        ),
        r"test_32x32\.mat: field y: 0, must be in 1\.\.10",
    ),
    "mat dtype": (
        "svhn_cropped",
        lambda f: scipy.io.savemat(
            f / "train_32x32.mat", {"X": np.zeros((32, 32, 3, 2)), "y": np.ones((2, 1))}
        ),
        r"train_32x32\.mat: field X: float64 of shape .* must be uint8",
    ),
    "cut gz": (
        "fashion_mnist",
        lambda f: cut(f / "train-images-idx3-ubyte.gz"),
        r"train-images-idx3-ubyte\.gz: truncated, damaged or not a \.gz file",
    ),
    "idx magic": (
        "fashion_mnist",
        lambda f: (f / "t10k-labels-idx1-ubyte.gz").write_bytes(gzip.compress(b"\0\0\x0d\x01" * 3)),
        r"t10k-labels-idx1-ubyte\.gz: begins with 00000d01, must be 00000801",
    ),
    "idx size": (
        "fashion_mnist",
        lambda f: (f / "t10k-labels-idx1-ubyte.gz").write_bytes(
            gzip.compress(b"\0\0\x08\x01\0\0\0\x09" + bytes(8))
        ),
        r"t10k-labels-idx1-ubyte\.gz: 8 values, must be 9 for shape \(9,\)",
    ),
    "idx count": (
        "fashion_mnist",
        lambda f: (f / "t10k-labels-idx1-ubyte.gz").write_bytes(idx(np.zeros(19, np.uint8))),
        r"t10k-labels-idx1-ubyte\.gz: 19 labels, must be 20",
    ),
    "missing file": (
        "fashion_mnist",
        lambda f: (f / "t10k-labels-idx1-ubyte.gz").unlink(),
        r": no t10k-labels-idx1-ubyte\.gz: the original files of fashion_mnist",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_originals_are_refused_and_nothing_is_prepared(tmp_path, capsys, case):
    name, spoil, message = BAD[case]
    MAKERS[name][0](tmp_path)
    spoil(tmp_path)
    root = tmp_path / "root"
    settings = {"data_dir": str(root), "origin": str(tmp_path), "check_originals": False}
    with pytest.raises(ValueError, match=message):
        prepare.prepare(name, **settings)
    assert not (root / name).exists()


def test_originals_are_checked_unless_told_otherwise(tmp_path, capsys):
    archive = make_cifar10(tmp_path)
    assert prepare.main(["cifar10", "--data-dir", str(tmp_path), "--archive", str(archive)]) == 2
    size = archive.stat().st_size
    message = f"{archive}: {size} bytes, must be 170052171 as in cifar-10-binary.tar.gz\n"
    assert capsys.readouterr().err == message


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ("digits", "digits: needs no preparation"),
        ("npz:a.npz", "npz:a.npz: needs no preparation"),
        ("tiny_imagenet", "tiny_imagenet: is read as distributed; unpack http"),
        (
            "caltech101",
            "caltech101: TFDS needs TensorFlow to prepare it, once: pip install tensorflow",
        ),
        ("cifar10:2.0.0", "cifar10:2.0.0: TFDS needs TensorFlow"),
        ("../cifar10", "must be tfds:<name>"),
    ],
)
def test_other_names_are_answered_in_one_line(tmp_path, capsys, monkeypatch, request_, message):
    monkeypatch.setattr(prepare.importlib.util, "find_spec", lambda name: None)
    assert prepare.main([request_, "--data-dir", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def served(tmp_path, content, **changes):
    """A `File` whose address is a local file."""
    path = tmp_path / "server" / "original.bin"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    truth = {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    return File(url=path.as_uri(), **{**truth, **changes})


def test_fetch_downloads_once_and_checks_again(tmp_path, capsys):
    file = served(tmp_path, b"abc" * 1000)
    folder = tmp_path / "downloads"
    path = download.fetch(file, folder)
    assert path == folder / "original.bin"
    assert path.read_bytes() == b"abc" * 1000
    (tmp_path / "server/original.bin").unlink()
    assert download.fetch(file, folder) == path
    path.write_bytes(b"abd" * 1000)
    with pytest.raises(ValueError, match=r"original\.bin: sha256 .*, must be "):
        download.fetch(file, folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sha256": "0" * 64}, r"sha256 [0-9a-f]{64}, must be 0{64} as in original\.bin"),
        ({"size": 5}, r"bytes, must be 5 as in original\.bin"),
        ({"size": 10**6}, r"3000 bytes, must be 1000000 as in original\.bin"),
        ({"url": "file:///no/such/file"}, r"file:///no/such/file: no download .*give --from"),
    ],
)
def test_a_bad_download_leaves_nothing_behind(tmp_path, changes, message):
    file = served(tmp_path, b"abc" * 1000)._replace(**changes)
    with pytest.raises(ValueError, match=message):
        download.fetch(file, tmp_path / "downloads")
    assert list((tmp_path / "downloads").iterdir()) == []


def test_the_known_digests_are_those_that_tfds_registers():
    ours = {file.url: (file.size, file.sha256) for o in ORIGINALS.values() for file in o.files}
    theirs = {}
    for name in ORIGINALS:
        for url, info in tfds.builder_cls(name).url_infos.items():
            theirs[url] = (int(info.size), info.checksum)
    assert {url: theirs.get(url) for url in ours} == ours
