"""Original archives that are cut, changed or incomplete are refused, and nothing is prepared."""

import numpy as np
import pytest
import scipy.io
from original_archives import (
    MAKERS,
    cifar10_members,
    write_tar,
)

from varmixup_jax.data import prepare


@pytest.fixture(autouse=True)
def own_folders(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("TFDS_DATA_DIR", raising=False)


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
    "missing file": (
        "svhn_cropped",
        lambda f: (f / "test_32x32.mat").unlink(),
        r": no test_32x32\.mat: the original files of svhn_cropped",
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
    assert not root.exists()
