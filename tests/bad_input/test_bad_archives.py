"""The original archives that `prepare` reads: damaged, lying and hostile; nothing is extracted."""

import gzip
import io
import tarfile

import numpy as np
import pytest
import scipy.io
from hypothesis import given, settings
from hypothesis import strategies as st
from refusing import accepted_or_refused, bomb_bytes, command_refused, refused

from varmixup_jax.data import prepare
from varmixup_jax.data.originals import ORIGINALS

FOLDER = "cifar-10-batches-bin"
TEST, META = f"{FOLDER}/test_batch.bin", f"{FOLDER}/batches.meta.txt"
RECORDS = b"".join(bytes([label]) + bytes(3072) for label in range(10))
MEMBERS = {META: b"".join(b"%d\n" % n for n in range(10)), TEST: RECORDS}
MEMBERS |= {f"{FOLDER}/data_batch_{n}.bin": RECORDS for n in range(1, 6)}


def tar(contents, kind="w:gz", extra=()):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=kind) as target:
        for info in extra:
            target.addfile(info)
        for name, content in contents.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            target.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def special(name, kind):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, "/etc/passwd"
    return info


def with_test(content):
    """The archive with these bytes for the test batch; None leaves it out."""
    return tar({n: c for n, c in (MEMBERS | {TEST: content}).items() if c is not None})


def replaced(kind):
    """The test batch is a link or a device instead of a file."""
    return tar({n: c for n, c in MEMBERS.items() if n != TEST}, extra=[special(TEST, kind)])


WHOLE = tar(MEMBERS)
SPECIAL = {
    "symbolic_link": tarfile.SYMTYPE, "hard_link": tarfile.LNKTYPE, "fifo": tarfile.FIFOTYPE,
    "character_device": tarfile.CHRTYPE, "block_device": tarfile.BLKTYPE, "directory": tarfile.DIRTYPE,
}  # fmt: skip
ARCHIVES = {kind: replaced(number) for kind, number in SPECIAL.items()} | {
    "empty": b"",
    "text": b"no archive",
    "empty_gzip": gzip.compress(b""),
    "gzip_of_text": gzip.compress(b"text" * 1000),
    "plain_tar": tar(MEMBERS, "w"),
    "half": WHOLE[: len(WHOLE) // 2],
    "without_its_end": WHOLE[:-100],
    "pickle": bomb_bytes("exploded"),
    "gzip_of_a_pickle": gzip.compress(bomb_bytes("exploded")),
    "no_members": tar({}),
    "no_names": tar({name: c for name, c in MEMBERS.items() if name != META}),
    "other_folder": tar({name.replace(FOLDER, "x"): c for name, c in MEMBERS.items()}),
    "absolute_names": tar({f"/{name}": content for name, content in MEMBERS.items()}),
    "names_with_dots": tar({f"../{name}": content for name, content in MEMBERS.items()}),
    "no_test": with_test(None),
    "test_empty": with_test(b""),
    "test_short": with_test(RECORDS[:-1]),
    "test_long": with_test(RECORDS + b"a"),
    "label_beyond": with_test(bytes([10]) + bytes(3072)),
    "label_255": with_test(bytes([255]) + bytes(3072)),
    "names_empty": tar(MEMBERS | {META: b""}),
    "names_too_few": tar(MEMBERS | {META: b"a\nb\n"}),
    "names_bytes": tar(MEMBERS | {META: b"\xff\xfe\n" * 10}),
}


@pytest.fixture
def refuses(tmp_path, monkeypatch, capsys):
    """`prepare` is refused with these names."""
    monkeypatch.chdir(tmp_path)

    def check(*names, words=("cifar10", "--from", "cifar.tar.gz", "--no-checksum")):
        line = [*words, "--data-dir", "sets"]
        command_refused(prepare.main, line, capsys, *names, untouched=[tmp_path])

    return check


@pytest.mark.parametrize("kind", ARCHIVES)
def test_archives(kind, tmp_path, refuses):
    (tmp_path / "cifar.tar.gz").write_bytes(ARCHIVES[kind])
    refuses("cifar.tar.gz")


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
    assert len(contents.splits["test"].images) == 10
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


@settings(max_examples=100)
@given(data=st.data())
def test_damaged_bytes_are_read_or_refused(data, tmp_path_factory):
    content = bytearray(WHOLE)
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("archive") / "cifar.tar.gz"
    path.write_bytes(bytes(content[: data.draw(st.integers(0, len(content)))]))
    accepted_or_refused(lambda: ORIGINALS["cifar10"].read([path]), path)


IMAGES = np.random.default_rng(0).integers(0, 256, (32, 32, 3, 10), np.uint8)
DIGITS = np.arange(1, 11, dtype=np.uint8)[:, None]
MATRICES = {
    "empty": b"",
    "text": b"no matrices" * 100,
    "hdf5": b"\x89HDF\r\n\x1a\n" + bytes(600),
    "no_images": {"y": DIGITS},
    "no_labels": {"X": IMAGES},
    "float_images": {"X": IMAGES / 255, "y": DIGITS},
    "one_image_less": {"X": IMAGES[..., 1:], "y": DIGITS},
    "rows_first": {"X": IMAGES.transpose(3, 0, 1, 2), "y": DIGITS},
    "digit_zero": {"X": IMAGES, "y": DIGITS - 1},
    "digit_eleven": {"X": IMAGES, "y": DIGITS + 1},
    "digit_nan": {"X": IMAGES, "y": np.full((10, 1), np.nan)},
    "text_labels": {"X": IMAGES, "y": np.array(["a"] * 10)},
    "objects": {"X": np.array([[1, "a"]], object), "y": DIGITS},
}


@pytest.mark.parametrize("kind", MATRICES)
def test_svhn(kind, tmp_path, refuses):
    test, content = tmp_path / "test_32x32.mat", MATRICES[kind]
    scipy.io.savemat(tmp_path / "train_32x32.mat", {"X": IMAGES, "y": DIGITS})
    test.write_bytes(content) if isinstance(content, bytes) else scipy.io.savemat(test, content)
    refuses("test_32x32.mat", words=["svhn_cropped", "--from", ".", "--no-checksum"])


def idx(values, code=8):
    sizes = b"".join(size.to_bytes(4, "big") for size in values.shape)
    return bytes([0, 0, code, values.ndim]) + sizes + values.tobytes()


PIXELS, CLASSES = np.zeros((10, 28, 28), np.uint8), np.arange(10, dtype=np.uint8)
FILES = {"images": ("images-idx3-ubyte.gz", PIXELS), "labels": ("labels-idx1-ubyte.gz", CLASSES)}
IDX = {
    "images_empty": b"",
    "images_plain": idx(PIXELS),
    "images_gzip_empty": gzip.compress(b""),
    "images_truncated": gzip.compress(idx(PIXELS))[:-20],
    "images_short": gzip.compress(idx(PIXELS)[:-1]),
    "images_long": gzip.compress(idx(PIXELS) + b"a"),
    "images_floats": gzip.compress(idx(PIXELS, code=13)),
    "images_of_two_axes": gzip.compress(idx(PIXELS[0])),
    "images_claim_more": gzip.compress(bytes([0, 0, 8, 3]) + b"\xff" * 12 + b"abc"),
    "labels_fewer": gzip.compress(idx(CLASSES[:-1])),
    "labels_beyond": gzip.compress(idx(CLASSES + 1)),
    "labels_are_images": gzip.compress(idx(PIXELS)),
    "labels_text": b"0 1 2",
}


@pytest.mark.parametrize("kind", IDX)
def test_fashion_mnist(kind, tmp_path, refuses):
    for name, array in FILES.values():
        for prefix in ("train", "t10k"):
            (tmp_path / f"{prefix}-{name}").write_bytes(gzip.compress(idx(array)))
    (tmp_path / f"t10k-{FILES[kind.split('_')[0]][0]}").write_bytes(IDX[kind])
    refuses("t10k", words=["fashion_mnist", "--from", ".", "--no-checksum"])


REQUESTS = {
    "digits": "needs no preparation", "npz:x.npz": "needs no preparation",
    "/etc": "source = 'tfds:/etc'", "../cifar10": "source = 'tfds:../cifar10'",
    "tiny_imagenet": "tiny-imagenet-200.zip",
    "": "source = 'tfds:'", "cifar10:x": "source = 'tfds:cifar10:x'", "cifar10:9.9.9 --from x": "--from",
    "mnist --from x": "--from", "cifar10 --from none": "none",
    "svhn_cropped --from .": "train_32x32.mat", "cifar10 --from ~nobody-here/x": "nobody-here",
}  # fmt: skip


@pytest.mark.parametrize("words", REQUESTS)
def test_requests(words, refuses):
    refuses(REQUESTS[words], words=words.split(" "))


def test_places_and_sums(tmp_path, refuses):
    (tmp_path / "cifar.tar.gz").write_bytes(WHOLE)
    refuses("cifar.tar.gz", "170052171", words=["cifar10", "--from", "cifar.tar.gz"])
    (tmp_path / "sets").write_text("mine")
    refuses("sets")
    (tmp_path / "sets").unlink()
    (tmp_path / "sets" / "cifar10" / "3.0.2").mkdir(parents=True)  # left half-written
    refuses("cifar10")


def test_an_unknown_set_downloads_nothing(refuses, monkeypatch):
    monkeypatch.setattr(prepare.importlib.util, "find_spec", lambda name: None)
    refuses("no_such_set", "TensorFlow", words=["no_such_set"])


def test_a_name_that_is_a_path_is_refused_by_the_function_too(tmp_path):
    with refused("source"):
        prepare.prepare("../../x", data_dir=str(tmp_path))
