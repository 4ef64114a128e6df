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
BINS = [*(f"data_batch_{n}.bin" for n in range(1, 6)), "test_batch.bin"]
RECORDS = b"".join(bytes([label]) + bytes(3072) for label in range(10))


def members():
    contents = {f"{FOLDER}/{name}": RECORDS for name in BINS}
    return {f"{FOLDER}/batches.meta.txt": b"".join(b"%d\n" % n for n in range(10)), **contents}


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


def special(name, kind, target="/etc/passwd"):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


WHOLE = tar(members())
TEST, META = f"{FOLDER}/test_batch.bin", f"{FOLDER}/batches.meta.txt"


def changed(**changes):
    names = {"test": TEST, "meta": META}
    new = members() | {names[key]: content for key, content in changes.items()}
    return tar({name: content for name, content in new.items() if content is not None})


def replaced(kind):
    """The test batch is a link or a device instead of a file."""
    contents = {name: content for name, content in members().items() if name != TEST}
    return tar(contents, extra=[special(TEST, kind)])


ARCHIVES = {
    "empty": b"",
    "text": b"no archive",
    "empty_gzip": gzip.compress(b""),
    "gzip_of_text": gzip.compress(b"text" * 1000),
    "plain_tar": tar(members(), "w"),
    "half": WHOLE[: len(WHOLE) // 2],
    "without_its_end": WHOLE[:-100],
    "pickle": bomb_bytes("exploded"),
    "gzip_of_a_pickle": gzip.compress(bomb_bytes("exploded")),
    "no_members": tar({}),
    "no_test": changed(test=None),
    "no_names": changed(meta=None),
    "other_folder": tar({name.replace(FOLDER, "x"): c for name, c in members().items()}),
    "absolute_names": tar({f"/{name}": content for name, content in members().items()}),
    "names_with_dots": tar({f"../{name}": content for name, content in members().items()}),
    "test_empty": changed(test=b""),
    "test_short": changed(test=RECORDS[:-1]),
    "test_long": changed(test=RECORDS + b"a"),
    "label_beyond": changed(test=bytes([10]) + bytes(3072)),
    "label_255": changed(test=bytes([255]) + bytes(3072)),
    "names_empty": changed(meta=b""),
    "names_too_few": changed(meta=b"a\nb\n"),
    "names_bytes": changed(meta=b"\xff\xfe\n" * 10),
    "symbolic_link": replaced(tarfile.SYMTYPE),
    "hard_link": replaced(tarfile.LNKTYPE),
    "character_device": replaced(tarfile.CHRTYPE),
    "block_device": replaced(tarfile.BLKTYPE),
    "fifo": replaced(tarfile.FIFOTYPE),
    "directory": replaced(tarfile.DIRTYPE),
}


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def words(place, name="cifar10", archive="cifar.tar.gz", *more):
    origin = place / archive
    return [name, "--data-dir", place / "sets", "--from", origin, "--no-checksum", *more]


@pytest.mark.parametrize("kind", ARCHIVES)
def test_archives(kind, place, capsys):
    (place / "cifar.tar.gz").write_bytes(ARCHIVES[kind])
    command_refused(prepare.main, words(place), capsys, "cifar.tar.gz", untouched=[place])


HOSTILE = {
    "dots": {"../outside": b"evil", "a/../../outside": b"evil"},
    "absolute": {"/tmp/outside": b"evil"},
    "over_the_archive": {"../cifar.tar.gz": b"evil", "cifar.tar.gz": b"evil"},
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_members_beside_those_that_are_wanted_are_not_written(kind, place):
    deep = place / "a" / "b"
    deep.mkdir(parents=True)
    extra = [special("link", tarfile.SYMTYPE), special(f"{FOLDER}/link", tarfile.LNKTYPE)]
    (deep / "cifar.tar.gz").write_bytes(tar(HOSTILE[kind] | members(), extra=extra))
    before = {path: path.stat().st_mtime_ns for path in place.rglob("*")}
    contents = ORIGINALS["cifar10"].read([deep / "cifar.tar.gz"])
    assert len(contents.splits["test"].images) == 10
    assert {path: path.stat().st_mtime_ns for path in place.rglob("*")} == before


@settings(max_examples=100)
@given(data=st.data())
def test_damaged_bytes_are_read_or_refused(data, tmp_path_factory):
    content = bytearray(WHOLE)
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("archive") / "cifar.tar.gz"
    path.write_bytes(bytes(content[: data.draw(st.integers(0, len(content)))]))
    accepted_or_refused(lambda: ORIGINALS["cifar10"].read([path]), path)


def test_checksums(place, capsys):
    (place / "cifar.tar.gz").write_bytes(WHOLE)
    line = [word for word in words(place) if word != "--no-checksum"]
    command_refused(prepare.main, line, capsys, "cifar.tar.gz", "170052171", untouched=[place])


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
def test_svhn(kind, place, capsys):
    for split in ("train", "test"):
        scipy.io.savemat(place / f"{split}_32x32.mat", {"X": IMAGES, "y": DIGITS})
    file, content = place / "test_32x32.mat", MATRICES[kind]
    if isinstance(content, bytes):
        file.write_bytes(content)
    else:
        scipy.io.savemat(file, content)
    line = words(place, "svhn_cropped", "")
    command_refused(prepare.main, line, capsys, "test_32x32.mat", untouched=[place])


def idx(values, code=8, axes=None):
    sizes = b"".join(size.to_bytes(4, "big") for size in values.shape)
    return bytes([0, 0, code, axes or values.ndim]) + sizes + values.tobytes()


PIXELS, CLASSES = np.zeros((10, 28, 28), np.uint8), np.arange(10, dtype=np.uint8)
FILES = {
    "images": "t10k-images-idx3-ubyte.gz",
    "labels": "t10k-labels-idx1-ubyte.gz",
}
IDX = {
    "images_empty": ("images", b""),
    "images_plain": ("images", idx(PIXELS)),
    "images_gzip_empty": ("images", gzip.compress(b"")),
    "images_truncated": ("images", gzip.compress(idx(PIXELS))[:-20]),
    "images_short": ("images", gzip.compress(idx(PIXELS)[:-1])),
    "images_long": ("images", gzip.compress(idx(PIXELS) + b"a")),
    "images_floats": ("images", gzip.compress(idx(PIXELS, code=13))),
    "images_of_two_axes": ("images", gzip.compress(idx(PIXELS[0]))),
    "images_claim_more": (
        "images",
        gzip.compress(bytes([0, 0, 8, 3]) + b"\xff" * 12 + b"abc"),
    ),
    "labels_fewer": ("labels", gzip.compress(idx(CLASSES[:-1]))),
    "labels_beyond": ("labels", gzip.compress(idx(CLASSES + 1))),
    "labels_are_images": ("labels", gzip.compress(idx(PIXELS))),
    "labels_text": ("labels", b"0 1 2"),
}


@pytest.mark.parametrize("kind", IDX)
def test_fashion_mnist(kind, place, capsys):
    for prefix in ("train", "t10k"):
        (place / f"{prefix}-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(PIXELS)))
        (place / f"{prefix}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(CLASSES)))
    which, content = IDX[kind]
    (place / FILES[which]).write_bytes(content)
    line = words(place, "fashion_mnist", "")
    command_refused(prepare.main, line, capsys, "t10k", untouched=[place])


REQUESTS = [
    (["digits"], "needs no preparation"),
    (["npz:x.npz"], "needs no preparation"),
    (["tiny_imagenet"], "tiny-imagenet-200.zip"),
    (["../cifar10"], "source = 'tfds:../cifar10'"),
    (["/etc"], "source = 'tfds:/etc'"),
    ([""], "source = 'tfds:'"),
    (["cifar10:x"], "source = 'tfds:cifar10:x'"),
    (["cifar10:9.9.9", "--from", "x"], "--from"),
    (["mnist", "--from", "x"], "--from"),
    (["cifar10", "--from", "none"], "none"),
    (["svhn_cropped", "--from", "."], "train_32x32.mat"),
    (["cifar10", "--from", "~nobody-here/x"], "nobody-here"),
]


@pytest.mark.parametrize(("request_", "message"), REQUESTS, ids=str)
def test_requests(request_, message, place, capsys):
    line = [*request_, "--data-dir", place / "sets"]
    command_refused(prepare.main, line, capsys, message, untouched=[place])


def test_the_place_of_the_sets_is_a_file(place, capsys):
    (place / "cifar.tar.gz").write_bytes(WHOLE)
    (place / "sets").write_text("mine")
    command_refused(prepare.main, words(place), capsys, "sets", untouched=[place])


def test_a_set_that_was_left_half_written_is_not_taken_for_whole(place, capsys):
    (place / "cifar.tar.gz").write_bytes(WHOLE)
    (place / "sets" / "cifar10" / "3.0.2").mkdir(parents=True)
    command_refused(prepare.main, words(place), capsys, "cifar10", untouched=[place])


def test_an_unknown_set_downloads_nothing(place, capsys, monkeypatch):
    monkeypatch.setattr(prepare.importlib.util, "find_spec", lambda name: None)
    line = ["no_such_set", "--data-dir", place / "sets"]
    command_refused(prepare.main, line, capsys, "no_such_set", "TensorFlow", untouched=[place])


def test_a_name_that_is_a_path_is_refused_by_the_function_too(place):
    with refused("source"):
        prepare.prepare("../../x", data_dir=str(place))
