"""`npz:<path>`: damaged, lying and hostile archives."""

import io
import zipfile

import numpy as np
import pytest
from damages import bomb_array, bomb_bytes, folder, linked, npz_bytes, spoiled, write
from hypothesis import given, settings
from refusing import accepted_or_refused, damaged, misspoken, refused, rejected

from varmixup_jax.data import load
from varmixup_jax.data.verify import main

X, Y, NAMES = "x_train", "y_train", "label_names"
RNG, ROW = np.random.default_rng(0), np.arange(20) % 4
# Four classes of five and two grey 4x4 images.
WHOLE = {
    X: RNG.integers(0, 256, (20, 4, 4, 1), np.uint8), Y: ROW,
    "x_test": RNG.integers(0, 256, (8, 4, 4, 1), np.uint8), "y_test": ROW[:8],
}  # fmt: skip
BYTES = npz_bytes(**WHOLE)


def fields(**changes):
    return write("set.npz", npz_bytes(**WHOLE | changes))


def read(path, **options):
    return load(f"npz:{path}", **{"val_fraction": 0.0, "split_seed": 0, **options})


@pytest.fixture
def root(tmp_path):
    fields()(tmp_path)
    return tmp_path


def test_the_undamaged_file_is_read(root):
    assert read(root / "set.npz").num_classes == 4
    fields(y_train=ROW.astype(np.uint64))(root)
    assert read(root / "set.npz").train_labels.dtype == np.int32


def nines(*shape):
    return np.full(shape, 9, np.uint8)


FLOATS = RNG.random((20, 4, 4, 1))
KINDS = {"int64": "int64", "bool": "bool", "complex": "complex", "<U1": "<U1"}
SHAPES = [(20,), (20, 4, 4, 1, 1), (20, 4, 4, 2), (20, 3, 32, 32), (20, 0, 4, 1)]
LABELS = {  # what is in the place of the training labels, and what the refusal must name
    "float": (ROW.astype(float), "float64"), "text": (ROW.astype(str), "<U"),
    "one_hot": (np.eye(4, dtype=int)[ROW], "(20, 4)"), "scalar": (np.int64(3), Y),
    "too_few": (ROW[:19], "(19,)"), "none": (ROW[:0], "(0,)"),
    "negative": (ROW - 1, "label -1 at row 0"), "a_gap": (ROW * 2, "class 1"),
    "huge": (np.where(ROW == 3, 10**12, ROW), "1000000000000"),
    "largest_uint64": (np.full(20, 2**64 - 1, np.uint64), "18446744073709551615"),
}  # fmt: skip
OTHERS = {
    "floats_in_0_1": ({X: FLOATS}, X, "float64", "uint8"),
    "nan": ({X: np.full_like(FLOATS, np.nan)}, X, "float64", "nan"),
    "not_in_0_255": ({X: nines(20, 4, 4, 1) // 9}, X, "largest pixel is 1"),
    "no_images": ({X: nines(0, 4, 4, 1), Y: ROW[:0]}, X, "0 images"),
    "no_test": ({"x_test": nines(0, 4, 4, 1), "y_test": ROW[:0]}, "x_test", "0 im"),
    "other_size": ({"x_test": nines(8, 5, 4, 1)}, "x_test", "(5, 4, 1)"),
    "test_label_beyond": ({"y_test": np.arange(8)}, "y_test", "label 4"),
    "test_class_missing": ({"y_test": ROW[:8] * 0}, "y_test", "class 1"),
    "one_class": ({Y: ROW * 0, "y_test": ROW[:8] * 0}, NAMES, "1 class"),
    "names_numbers": ({NAMES: np.arange(4)}, NAMES, "int64"),
    "names_grid": ({NAMES: np.full((2, 2), "a")}, NAMES, "(2, 2)"),
    "names_too_few": ({NAMES: np.array(["a", "b"])}, Y, "label 2"),
    "names_too_many": ({NAMES: np.array(list("abcde"))}, Y, "class 4 (e)"),
}
FIELDS = {f"no_{name}": ({name: None}, name, "missing") for name in WHOLE}
FIELDS |= {f"images_{k}": ({X: np.ones((20, 4, 4, 1)).astype(k)}, X, v) for k, v in KINDS.items()}
FIELDS |= {f"images_{shape}": ({X: nines(*shape)}, X, str(shape)) for shape in SHAPES}
FIELDS |= {f"labels_{k}": ({Y: value}, Y, name) for k, (value, name) in LABELS.items()} | OTHERS
MIXED = np.empty(2, object)
MIXED[:] = [np.zeros((2, 2, 1), np.uint8), np.zeros((3, 3, 1), np.uint8)]
FIELDS["mixed_sizes"] = ({X: MIXED}, X, "mixed sizes")
FIELDS |= {
    f"pickle_{field}": ({field: bomb_array("exploded")}, field, "Python objects")
    for field in (*WHOLE, NAMES)
}
DAMAGES = {kind: (fields(**changes), *names) for kind, (changes, *names) in FIELDS.items()}
test_fields = damaged(DAMAGES, lambda root: read(root / "set.npz"), "set.npz")


def npy(header):
    text = header.encode("latin1") + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


def shaped(shape, kind="|u1"):
    return f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}}}"


def zipped(member):
    """An archive in which x_train is the given bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(BYTES)) as old, zipfile.ZipFile(buffer, "w") as new:
        for name in old.namelist():
            new.writestr(name, member if name == "x_train.npy" else old.read(name))
    return buffer.getvalue()


MEMBERS = {
    "empty": b"", "short": npy(shaped("(20, 4, 4, 1)")) + b"abc",
    "claims_petabytes": npy(shaped("(10**6, 10**9, 3)")), "beyond_int64": npy(shaped(f"({10**30},)")),
    "negative": npy(shaped("(-1, 4, 4, 1)")), "code": npy("__import__('os').mkdir('exploded')"),
    "deep": npy("(" * 5000), "unknown_type": npy(shaped("(1,)", "|q9")),
}  # fmt: skip
CONTENTS = {f"member_{kind}": zipped(member) for kind, member in MEMBERS.items()} | {
    "empty": b"", "text": b"x_train, y_train\n1, 2\n", "half": BYTES[: len(BYTES) // 2],
    "without_its_beginning": BYTES[30:], "empty_zip": b"PK\x05\x06" + bytes(18),
    "one_array": npy(shaped("(1,)")) + b"a", "pickle": bomb_bytes("exploded"),
}  # fmt: skip


def to_outside(root):
    with zipfile.ZipFile(root / "set.npz", "w") as new:
        for name in ("../outside.npy", "/tmp/outside.npy"):
            new.writestr(name, "evil")


CASES = {kind: (write("set.npz", content),) for kind, content in CONTENTS.items()}
CASES |= {"names_outside": (to_outside, X), "a_loop": (linked("set.npz", "set.npz"),)}
test_contents = damaged(CASES, lambda root: read(root / "set.npz"), "set.npz")


@settings(max_examples=100)
@given(content=spoiled(BYTES))
def test_damaged_bytes_are_read_or_refused(content, tmp_path):
    write("set.npz", content)(tmp_path)
    accepted_or_refused(lambda: read(tmp_path / "set.npz"), tmp_path / "set.npz")


@pytest.mark.parametrize("place", ["set.npz", "none.npz", "~nobody-here/set.npz"])
def test_places_that_are_no_file(place, root):
    folder("set.npz")(root)
    path = str(place if place[:1] in ("~", "/") else root / place)
    with refused("npz:", path, "no such file", untouched=[root]):
        read(path)


OPTIONS = {
    "val_fraction": [1.0, 0.95, float("nan"), None, "half"], "split_seed": [-1, 0.5],
    "limit": [0, 3, True, 4.0], "resize": [0, 8.0],
}  # fmt: skip


@pytest.mark.parametrize(("name", "value"), [(k, v) for k in OPTIONS for v in OPTIONS[k]])
def test_options(name, value, root):
    with refused(f"{name} = {value!r}"):
        read(root / "set.npz", **{name: value})


@pytest.mark.parametrize("source", ["", ":", "npz:", "a\nb", "x" * 5000, "tfds:a/b/c", "tfds: "])
def test_sources(source, tmp_path):
    with refused("source = ", untouched=[tmp_path]):
        load(source, data_dir=str(tmp_path), val_fraction=0.0, split_seed=0)


WORDS = {"npz:none.npz": "none.npz", "digit": "digit", "tfds:none --data-dir .": "none"}
test_the_command = rejected(main, {words: (fields(), name) for words, name in WORDS.items()})
test_the_words_of_the_command = misspoken(main, "", "digits --val-fraction x", "digits --limt=3")
