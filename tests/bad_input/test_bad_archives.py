"""The original archives that `prepare` reads: damaged, lying and hostile; nothing is extracted."""

import gzip
import io
import tarfile

import numpy as np
import pytest
import scipy.io
from damages import bomb_bytes, files, special, spoiled, tar_bytes, write
from hypothesis import given, settings
from refusing import accepted_or_refused, refused, rejected

from varmixup_jax.data import prepare
from varmixup_jax.data.archives import ORIGINALS
from varmixup_jax.data.prepare import main

FOLDER = "cifar-10-batches-bin"
TEST, META = f"{FOLDER}/test_batch.bin", f"{FOLDER}/batches.meta.txt"
RECORDS = b"".join(bytes([label]) + bytes(3072) for label in range(10))
MEMBERS = {META: b"".join(b"%d\n" % n for n in range(10)), TEST: RECORDS}
MEMBERS |= {f"{FOLDER}/data_batch_{n}.bin": RECORDS for n in range(1, 6)}


TAR = "cifar.tar.gz"


def tar(contents, mode="w:gz", extra=()):
    return tar_bytes(contents, mode, extra)


def with_test(content, extra=()):
    """The archive with these bytes for the test batch; None leaves it out."""
    return tar(MEMBERS | {TEST: content}, extra=extra)


WHOLE = tar(MEMBERS)
SPECIAL = {"symbolic_link": tarfile.SYMTYPE, "hard_link": tarfile.LNKTYPE, "fifo": tarfile.FIFOTYPE}
ARCHIVES = {k: with_test(None, [special(TEST, kind)]) for k, kind in SPECIAL.items()} | {
    "empty": b"", "empty_gzip": gzip.compress(b""), "gzip_of_text": gzip.compress(b"text" * 1000),
    "plain_tar": tar(MEMBERS, "w"), "half": WHOLE[: len(WHOLE) // 2], "without_its_end": WHOLE[:-100],
    "gzip_of_a_pickle": gzip.compress(bomb_bytes("exploded")), "no_members": tar({}),
    "absolute_names": tar({f"/{name}": content for name, content in MEMBERS.items()}),
    "test_empty": with_test(b""), "test_short": with_test(RECORDS[:-1]),
    "label_beyond": with_test(bytes([10]) + bytes(3072)), "names_empty": tar(MEMBERS | {META: b""}),
    "names_bytes": tar(MEMBERS | {META: b"\xff\xfe\n" * 10}),
}  # fmt: skip
DAMAGES = {kind: (write(TAR, content), TAR) for kind, content in ARCHIVES.items()} | {
    "root_taken": (files({TAR: WHOLE, "sets": "mine"}), "sets"),
}
test_archives = rejected(main, DAMAGES, f"cifar10 --from {TAR} --no-checksum --data-dir sets")
test_another_sum = rejected(
    main,
    {"sha256": (write(TAR, WHOLE), TAR, "c4a38c50a1bc5f3a")},
    f"cifar10 --from {TAR} --data-dir sets",
)


HOSTILE = {
    "dots": {"../outside": b"evil", "a/../../outside": b"evil"},
    "absolute": {"/tmp/outside": b"evil"},
    "over_the_archive": {"../cifar.tar.gz": b"evil", "cifar.tar.gz": b"evil"},
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_members_beside_those_that_are_wanted_are_not_written(kind, tmp_path, monkeypatch):
    deep = tmp_path / "a" / "b"
    deep.mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    extra = [special("link", tarfile.SYMTYPE), special(f"{FOLDER}/link", tarfile.LNKTYPE)]
    (deep / "cifar.tar.gz").write_bytes(tar(HOSTILE[kind] | MEMBERS, extra=extra))
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    contents = ORIGINALS["cifar10"].read([deep / "cifar.tar.gz"])
    assert len(contents["x_test"]) == 10
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


@settings(max_examples=50)
@given(content=spoiled(WHOLE))
def test_damaged_bytes_are_read_or_refused(content, tmp_path):
    write(TAR, content)(tmp_path)
    accepted_or_refused(lambda: ORIGINALS["cifar10"].read([tmp_path / TAR]), tmp_path / TAR)


def matrices(images, labels):
    """The bytes of a MATLAB file of SVHN; what is None is left out."""
    buffer, fields = io.BytesIO(), {"X": images, "y": labels}
    scipy.io.savemat(buffer, {name: array for name, array in fields.items() if array is not None})
    return buffer.getvalue()


IMAGES = np.random.default_rng(0).integers(0, 256, (32, 32, 3, 10), np.uint8)
DIGITS = np.arange(1, 11, dtype=np.uint8)[:, None]
MATRICES = {
    "empty": b"", "hdf5": b"\x89HDF\r\n\x1a\n" + bytes(600), "no_images": matrices(None, DIGITS),
    "float_images": matrices(IMAGES / 255, DIGITS), "one_image_less": matrices(IMAGES[..., 1:], DIGITS),
    "digit_eleven": matrices(IMAGES, DIGITS + 1), "nan": matrices(IMAGES, np.full((10, 1), np.nan)),
    "objects": matrices(np.array([[1, "a"]], object), DIGITS),
}  # fmt: skip
TRAIN_MAT, TEST_MAT = "train_32x32.mat", "test_32x32.mat"
SVHN = {
    kind: (files({TRAIN_MAT: matrices(IMAGES, DIGITS), TEST_MAT: content}), TEST_MAT)
    for kind, content in MATRICES.items()
}
test_svhn = rejected(main, SVHN, "svhn_cropped --from . --no-checksum --data-dir sets")


REQUESTS = {
    "digits": "needs no preparation", "npz:x.npz": "needs no preparation",
    "/etc": "source = 'tfds:/etc'", "../cifar10": "source = 'tfds:../cifar10'",
    "tiny_imagenet": "tiny-imagenet-200.zip", "": "source = 'tfds:'",
    "cifar10:x": "source = 'tfds:cifar10:x'", "cifar10:9.9.9 --from x": "--from",
    "mnist --from x": "--from", "cifar10 --from none": "none",
    "svhn_cropped --from .": "train_32x32.mat", "cifar10 --from ~nobody-here/x": "nobody-here",
}  # fmt: skip


@pytest.mark.parametrize("words", REQUESTS)
def test_requests(words, refuses):
    refuses(main, [*words.split(" "), "--data-dir", "sets"], REQUESTS[words])


def test_an_unknown_set_downloads_nothing(refuses, monkeypatch):
    monkeypatch.setattr(prepare.importlib.util, "find_spec", lambda name: None)
    refuses(main, ["no_such_set", "--data-dir", "sets"], "no_such_set", "TensorFlow")


def test_a_name_that_is_a_path_is_refused_by_the_function_too(tmp_path):
    with refused("source"):
        prepare.prepare("../../x", data_dir=str(tmp_path))
