"""The original archives, made in small, to one npz file each; downloads; the command."""

import hashlib
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import tensorflow_datasets as tfds
from original_archives import MAKERS, make_cifar10, make_cifar100, pictures
from tfds_writer import write_prepared

from varmixup_jax.data import load, prepare
from varmixup_jax.data.archives import ORIGINALS
from varmixup_jax.data.published import published


@pytest.fixture(autouse=True)
def own_folders(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("TFDS_DATA_DIR", raising=False)
    tfds.disable_progress_bar()


def read(root, source):
    return load(source, data_dir=str(root), val_fraction=0.0, split_seed=0)


@pytest.mark.parametrize("name", MAKERS)
def test_originals_become_one_file_in_their_order(tmp_path, capsys, name):
    make, classes, shape = MAKERS[name]
    root = tmp_path / "root"
    command = [name, "--data-dir", str(root), "--from", str(make(tmp_path)), "--no-checksum"]
    assert prepare.main(command) == 0
    assert capsys.readouterr().out == f"prepared in {root / name}.npz\n"
    assert [path.name for path in root.iterdir()] == [f"{name}.npz"]
    for source in (f"tfds:{name}", f"tfds:{name}:{ORIGINALS[name].version}"):
        data = read(root, source)
        assert (data.name, data.image_shape) == (name, shape)
        for split in ("train", "test"):
            images, labels = pictures(split, classes, shape)
            np.testing.assert_array_equal(getattr(data, f"{split}_images"), images)
            np.testing.assert_array_equal(getattr(data, f"{split}_labels"), labels)
    with pytest.raises(ValueError, match=f"tfds:{name}:1.0.0: not prepared"):
        read(root, f"tfds:{name}:1.0.0")


def test_a_second_run_leaves_the_prepared_set_alone(tmp_path):
    settings = {"data_dir": str(tmp_path / "root"), "check_originals": False}
    file = prepare.prepare("cifar10", origin=str(make_cifar10(tmp_path)), **settings)
    before = file.stat().st_mtime_ns
    assert prepare.prepare("cifar10", origin="not needed", **settings) == file
    assert file.stat().st_mtime_ns == before


def test_a_set_that_tfds_prepared_comes_first_and_an_empty_folder_does_not(tmp_path):
    """An empty version folder was taken for a prepared set that could then not be read."""
    root = tmp_path / "root"
    folder = root / "cifar10" / "3.0.2"
    folder.mkdir(parents=True)
    with pytest.raises(ValueError, match=r"prepare cifar10 .*3\.0\.2 is unfinished, delete it"):
        read(root, "tfds:cifar10")
    settings = {"data_dir": str(root), "check_originals": False}
    prepare.prepare("cifar10", origin=str(make_cifar10(tmp_path)), **settings)
    read(root, "tfds:cifar10")
    folder.rmdir()
    images, labels = pictures("test", 10, (8, 8, 3))
    splits = dict.fromkeys(("train", "test"), (images, labels))
    assert write_prepared("cifar10", "3.0.2", splits, map(str, range(10)), root) == folder
    assert read(root, "tfds:cifar10").image_shape == (8, 8, 3)
    assert prepare.prepare("cifar10", **settings) == folder


def test_cifar100_has_its_fine_labels_and_their_names(tmp_path):
    root = tmp_path / "root"
    settings = {"origin": str(make_cifar100(tmp_path)), "check_originals": False}
    prepare.prepare("cifar100", data_dir=str(root), **settings)
    data = read(root, "tfds:cifar100")
    assert data.label_names == tuple(f"fine {k}" for k in range(100))


@pytest.fixture
def server(tmp_path, monkeypatch):
    """The address of a folder with an original file in it; cifar10 is said to be there."""
    place = tmp_path / "server"
    place.mkdir()
    archive = make_cifar10(place)

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(place))) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{running.server_port}/{archive.name}"
        sha256 = hashlib.sha256(archive.read_bytes()).hexdigest()
        monkeypatch.setitem(published().registry, archive.name, f"sha256:{sha256}")
        monkeypatch.setitem(published().urls, archive.name, url)
        yield archive
        running.shutdown()


def test_a_download_is_kept_and_used_again(tmp_path, server, capsys):
    file = prepare.prepare("cifar10", data_dir=str(tmp_path / "root"))
    assert "downloading http://127.0.0.1" in capsys.readouterr().err
    kept = tmp_path / "root/downloads/cifar10" / server.name
    assert kept.read_bytes() == server.read_bytes()
    server.unlink()
    file.unlink()
    assert prepare.prepare("cifar10", data_dir=str(tmp_path / "root")) == file
    assert capsys.readouterr().err == ""


def test_a_bad_download_leaves_nothing_behind(tmp_path, server):
    server.write_bytes(b"another file")
    for _ in range(2):
        with pytest.raises(
            ValueError, match=r"no download \(.*; fetch it elsewhere and give --from"
        ):
            prepare.prepare("cifar10", data_dir=str(tmp_path / "root"))
        assert [path for path in (tmp_path / "root").rglob("*") if path.is_file()] == []
        server.unlink(missing_ok=True)  # then it is not there


def test_the_known_digests_are_those_that_tfds_registers():
    ours = {url: published().registry[name] for name, url in published().urls.items()}
    assert {file for o in ORIGINALS.values() for file in o.files} == published().urls.keys()
    theirs = {}
    for name in ORIGINALS:
        for url, info in tfds.builder_cls(name).url_infos.items():
            theirs[url] = f"sha256:{info.checksum}"
    assert {url: theirs.get(url) for url in ours} == ours
