"""`npz:<path>`: damaged, lying and hostile archives."""

import io
import os
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from refusing import accepted_or_refused, bomb_array, bomb_bytes, command_refused, refused

from varmixup_jax.data import load, verify


def arrays(**changes):
    """Four classes of five and two grey 4x4 images, with some fields changed; None leaves one out."""
    generator = np.random.default_rng(0)
    fields = {
        "x_train": generator.integers(0, 256, (20, 4, 4, 1), np.uint8),
        "y_train": np.arange(20) % 4,
        "x_test": generator.integers(0, 256, (8, 4, 4, 1), np.uint8),
        "y_test": np.arange(8) % 4,
    }
    return {name: value for name, value in (fields | changes).items() if value is not None}


def written(path, **changes):
    np.savez(path, **arrays(**changes))
    return path


def read(path, **options):
    return load(f"npz:{path}", **{"val_fraction": 0.0, "split_seed": 0, **options})


def test_the_undamaged_file_is_read(tmp_path):
    assert read(written(tmp_path / "set.npz")).num_classes == 4
    as_stored = read(written(tmp_path / "set.npz", y_train=(np.arange(20) % 4).astype(np.uint64)))
    assert as_stored.train_labels.dtype == np.int32


X, Y = "x_train", "y_train"
FLOATS = np.random.default_rng(1).random((20, 4, 4, 1))
ROW = np.arange(20) % 4
FIELDS = {
    "no_x_train": ({X: None}, X, "missing"),
    "no_y_train": ({Y: None}, Y, "missing"),
    "no_x_test": ({"x_test": None}, "x_test", "missing"),
    "no_y_test": ({"y_test": None}, "y_test", "missing"),
    "floats_in_0_1": ({X: FLOATS}, X, "float64", "uint8"),
    "floats_in_0_255": ({X: (FLOATS * 255).round()}, X, "float64", "uint8"),
    "nan": ({X: np.full((20, 4, 4, 1), np.nan)}, X, "float64", "nan"),
    "inf": ({X: np.full((20, 4, 4, 1), np.inf, np.float32)}, X, "float32", "inf"),
    "int64_images": ({X: np.ones((20, 4, 4, 1), np.int64)}, X, "int64"),
    "int8_images": ({X: np.ones((20, 4, 4, 1), np.int8)}, X, "int8"),
    "bool_images": ({X: np.ones((20, 4, 4, 1), bool)}, X, "bool"),
    "complex_images": ({X: np.ones((20, 4, 4, 1), complex)}, X, "complex"),
    "text_images": ({X: np.full((20, 4, 4, 1), "a")}, X, "<U1"),
    "dates": ({X: np.zeros((20, 4, 4, 1), "datetime64[s]")}, X, "datetime64"),
    "structured": ({X: np.zeros((20, 4, 4, 1), [("a", np.uint8)])}, X, "'a'"),
    "not_in_0_255": ({X: np.ones((20, 4, 4, 1), np.uint8)}, X, "largest pixel is 1"),
    "scalar": ({X: np.uint8(7)}, X, "shape ()"),
    "vector": ({X: np.full(20, 9, np.uint8)}, X, "(20,)"),
    "flat": ({X: np.full((20, 16), 9, np.uint8)}, X, "(20, 16)"),
    "five_axes": ({X: np.full((20, 4, 4, 1, 1), 9, np.uint8)}, X, "(20, 4, 4, 1, 1)"),
    "two_channels": ({X: np.full((20, 4, 4, 2), 9, np.uint8)}, X, "(20, 4, 4, 2)"),
    "alpha": ({X: np.full((20, 4, 4, 4), 9, np.uint8)}, X, "(20, 4, 4, 4)"),
    "channels_first": ({X: np.full((20, 3, 32, 32), 9, np.uint8)}, X, "(20, 3, 32, 32)"),
    "no_images": ({X: np.zeros((0, 4, 4, 1), np.uint8), Y: ROW[:0]}, X, "0 images"),
    "no_rows": ({X: np.zeros((20, 0, 4, 1), np.uint8)}, X, "(20, 0, 4, 1)"),
    "no_test": ({"x_test": np.zeros((0, 4, 4, 1), np.uint8), "y_test": ROW[:0]}, "x_test", "0 im"),
    "other_size": ({"x_test": np.full((8, 5, 4, 1), 9, np.uint8)}, "x_test", "(5, 4, 1)"),
    "other_channels": ({"x_test": np.full((8, 4, 4, 3), 9, np.uint8)}, "x_test", "(4, 4, 3)"),
    "float_labels": ({Y: ROW.astype(float)}, Y, "float64"),
    "nan_labels": ({Y: np.full(20, np.nan)}, Y, "float64"),
    "bool_labels": ({Y: ROW > 1}, Y, "bool"),
    "text_labels": ({Y: ROW.astype(str)}, Y, "<U"),
    "one_hot": ({Y: np.eye(4, dtype=int)[ROW]}, Y, "(20, 4)"),
    "column": ({Y: ROW[:, None]}, Y, "(20, 1)"),
    "label_scalar": ({Y: np.int64(3)}, Y),
    "too_few_labels": ({Y: ROW[:19]}, Y, "(19,)"),
    "too_many_labels": ({Y: np.append(ROW, 0)}, Y, "(21,)"),
    "no_labels": ({Y: ROW[:0]}, Y, "(0,)"),
    "negative": ({Y: ROW - 1}, Y, "label -1 at row 0"),
    "from_one": ({Y: ROW + 1}, Y, "class 0"),
    "a_gap": ({Y: ROW * 2}, Y, "class 1"),
    "huge_label": ({Y: np.where(ROW == 3, 10**12, ROW)}, Y, "1000000000000"),
    "largest_uint64": ({Y: np.full(20, 2**64 - 1, np.uint64)}, Y, "18446744073709551615"),
    "test_label_beyond": ({"y_test": np.arange(8)}, "y_test", "label 4"),
    "test_label_negative": ({"y_test": np.arange(8) - 1}, "y_test", "label -1"),
    "test_class_missing": ({"y_test": np.zeros(8, int)}, "y_test", "class 1"),
    "one_class": ({Y: ROW * 0, "y_test": np.zeros(8, int)}, "label_names", "1 class"),
    "names_numbers": ({"label_names": np.arange(4)}, "label_names", "int64"),
    "names_bytes": ({"label_names": np.array([b"a"] * 4)}, "label_names", "|S1"),
    "names_grid": ({"label_names": np.full((2, 2), "a")}, "label_names", "(2, 2)"),
    "names_none": ({"label_names": np.array([], str)}, "label_names", "0 class"),
    "names_too_few": ({"label_names": np.array(["a", "b"])}, Y, "label 2"),
    "names_too_many": ({"label_names": np.array(list("abcde"))}, Y, "class 4 (e)"),
}


@pytest.mark.parametrize("kind", FIELDS)
def test_fields(kind, tmp_path):
    changes, *names = FIELDS[kind]
    path = written(tmp_path / "set.npz", **changes)
    with refused(path, *names, untouched=[tmp_path]):
        read(path)


@pytest.mark.parametrize("field", [X, Y, "x_test", "y_test", "label_names"])
def test_a_pickle_is_never_loaded(field, tmp_path):
    place = tmp_path / "exploded"
    path = written(tmp_path / "set.npz", **{field: bomb_array(place)})
    with refused(path, field, "Python objects", untouched=[tmp_path]):
        read(path)
    assert not place.exists()


def test_images_of_mixed_sizes(tmp_path):
    mixed = np.empty(2, object)
    mixed[:] = [np.zeros((2, 2, 1), np.uint8), np.zeros((3, 3, 1), np.uint8)]
    with refused("x_train", "mixed sizes"):
        read(written(tmp_path / "set.npz", x_train=mixed))


def whole():
    buffer = io.BytesIO()
    np.savez(buffer, **arrays())
    return buffer.getvalue()


WHOLE = whole()


def npy(header, version=b"\x01\x00"):
    text = header.encode("latin1") + b"\n"
    return b"\x93NUMPY" + version + len(text).to_bytes(2, "little") + text


def zipped(member):
    """An archive in which x_train is the given bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(WHOLE)) as old, zipfile.ZipFile(buffer, "w") as new:
        for name in old.namelist():
            new.writestr(name, member if name == "x_train.npy" else old.read(name))
    return buffer.getvalue()


SHAPE = "{{'descr': '{}', 'fortran_order': False, 'shape': {}}}"
CONTENTS = {
    "empty": b"",
    "one_byte": b"P",
    "text": b"x_train, y_train\n1, 2\n",
    "zeros": bytes(1000),
    "half": WHOLE[: len(WHOLE) // 2],
    "without_its_end": WHOLE[:-30],
    "without_its_beginning": WHOLE[30:],
    "empty_zip": b"PK\x05\x06" + bytes(18),
    "one_array": npy(SHAPE.format("|u1", "(1,)")) + b"a",
    "gzip": b"\x1f\x8b\x08\x00" + bytes(20),
    "member_empty": zipped(b""),
    "member_text": zipped(b"no array"),
    "member_short": zipped(npy(SHAPE.format("|u1", "(20, 4, 4, 1)")) + b"abc"),
    "member_claims_petabytes": zipped(npy(SHAPE.format("|u1", "(10**6, 10**9, 3)"))),
    "member_claims_more": zipped(npy(SHAPE.format("|u1", f"({10**15},)"))),
    "member_beyond_int64": zipped(npy(SHAPE.format("|u1", f"({10**30},)"))),
    "member_negative": zipped(npy(SHAPE.format("|u1", "(-1, 4, 4, 1)"))),
    "member_no_header": zipped(npy("")),
    "member_open_bracket": zipped(npy("{'descr': (((((")),
    "member_code": zipped(npy("__import__('os').mkdir('exploded')")),
    "member_deep": zipped(npy("(" * 5000)),
    "member_unknown_type": zipped(npy(SHAPE.format("|q9", "(1,)"))),
    "member_other_version": zipped(npy(SHAPE.format("|u1", "(1,)"), b"\x09\x00")),
}


@pytest.mark.parametrize("kind", CONTENTS)
def test_contents(kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "set.npz"
    path.write_bytes(CONTENTS[kind])
    with refused(path, untouched=[tmp_path]):
        read(path)


def test_a_bare_pickle(tmp_path):
    path = tmp_path / "set.npz"
    path.write_bytes(bomb_bytes(tmp_path / "exploded"))
    with refused(path, untouched=[tmp_path]):
        read(path)


@settings(max_examples=150)
@given(data=st.data())
def test_damaged_bytes_are_read_or_refused(data, tmp_path):
    """Any byte changed, any piece cut out: the file is read, or refused by its name."""
    content = bytearray(WHOLE)
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    start = data.draw(st.integers(0, len(content)))
    stop = data.draw(st.sampled_from([start, start, start + 1, start + 50, len(content)]))
    del content[start:stop]
    path = tmp_path / "set.npz"
    path.write_bytes(bytes(content))
    accepted_or_refused(lambda: read(path), path)


def test_names_of_a_zip_that_lead_outside(tmp_path):
    with zipfile.ZipFile(tmp_path / "set.npz", "w") as new:
        for name in ("../outside.npy", "/tmp/outside.npy"):
            new.writestr(name, "evil")
    with refused("x_train", untouched=[tmp_path]):
        read(tmp_path / "set.npz")


def test_places_that_are_no_file(tmp_path):
    (tmp_path / "set.npz").mkdir()
    for path in (
        tmp_path,
        tmp_path / "set.npz",
        tmp_path / "none.npz",
        "~nobody-here/set.npz",
        "/",
    ):
        with refused("npz:", str(path), "no such file", untouched=[tmp_path]):
            read(path)
    (tmp_path / "loop.npz").symlink_to(tmp_path / "loop.npz")
    with refused("loop.npz"):
        read(tmp_path / "loop.npz")


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every file")
def test_a_file_that_may_not_be_read(tmp_path):
    path = written(tmp_path / "set.npz")
    path.chmod(0)
    with pytest.raises(OSError, match=r"set\.npz"):
        read(path)


OPTIONS = [
    ({"val_fraction": 1.0}, "val_fraction = 1.0"),
    ({"val_fraction": 0.95}, "val_fraction = 0.95"),
    ({"val_fraction": -0.1}, "val_fraction = -0.1"),
    ({"val_fraction": float("nan")}, "val_fraction = nan"),
    ({"val_fraction": None}, "val_fraction = None"),
    ({"val_fraction": "half"}, "val_fraction = 'half'"),
    ({"split_seed": -1}, "split_seed = -1"),
    ({"split_seed": 0.5}, "split_seed = 0.5"),
    ({"split_seed": None}, "split_seed = None"),
    ({"limit": 0}, "limit = 0"),
    ({"limit": 3}, "limit = 3"),
    ({"limit": True}, "limit = True"),
    ({"limit": 4.0}, "limit = 4.0"),
    ({"resize": 0}, "resize = 0"),
    ({"resize": -8}, "resize = -8"),
    ({"resize": 8.0}, "resize = 8.0"),
]


@pytest.mark.parametrize(("options", "message"), OPTIONS, ids=lambda v: str(v))
def test_options(options, message, tmp_path):
    with refused(message):
        read(written(tmp_path / "set.npz"), **options)


SOURCES = ["", ":", "npz", "npz:", "tfds:", "digit", "Digits", "cifar10", "mnist", "tiny-imagenet"]


@pytest.mark.parametrize(
    "source", [*SOURCES, "a\nb", "x" * 5000, "tfds:a/b/c", "tfds:a:1", "tfds: "]
)
def test_sources(source, tmp_path):
    with refused("source = ", untouched=[tmp_path]):
        load(source, data_dir=str(tmp_path), val_fraction=0.0, split_seed=0)


COMMANDS = [["npz:none.npz"], ["digit"], ["tfds:none", "--data-dir", "."], ["npz:."]]


@pytest.mark.parametrize("arguments", COMMANDS, ids=lambda a: a[0])
def test_the_command(arguments, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    name = arguments[0].partition(":")[2] or arguments[0]
    command_refused(verify.main, arguments, capsys, name, untouched=[tmp_path])


@pytest.mark.parametrize(
    "arguments", [[], ["digits", "--val-fraction", "x"], ["digits", "--limt=3"]]
)
def test_the_words_of_the_command(arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        verify.main(arguments)
    assert ended.value.code == 2
    assert "Traceback" not in capsys.readouterr().err
