"""The original archives, made in small, to prepared TFDS sets; downloads; the command."""

import hashlib

import pytest
import tensorflow_datasets as tfds
from original_archives import MAKERS, PER_CLASS, make_cifar10, make_cifar100, pictures

from varmixup_jax.data import download, load, prepare
from varmixup_jax.data.originals import ORIGINALS, File


@pytest.fixture(autouse=True)
def own_folders(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("TFDS_DATA_DIR", raising=False)
    tfds.disable_progress_bar()


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
