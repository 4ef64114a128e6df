"""`python -m varmixup_jax.corruptions make` with bad arrays, files, folders and words."""

import numpy as np
import pytest
from PIL import Image
from refusing import bomb_array, bomb_bytes, both, command_refused, cut, misspoken, saved, write

from varmixup_jax.corruptions import __main__ as command
from varmixup_jax.corruptions import make

IMAGES = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3), np.uint8)
LABELS = np.arange(4) % 2
FROST = ["frost1.png", "frost2.png", "frost3.png", "frost4.jpg", "frost5.jpg"]


@pytest.fixture
def refuses(tmp_path, capsys):
    """The command, with these words, is refused with these names."""

    def check(*names, images="set.npz", words=()):
        line = ["make", "--out", tmp_path / "out", "--images", tmp_path / images, *words]
        command_refused(command.main, line, capsys, *names, untouched=[tmp_path])

    return check


def archive(place, images=IMAGES, labels=LABELS):
    np.savez(place / "set.npz", images=images, labels=labels)


PICTURES = {  # in the place of the images
    "float": (IMAGES / 255, "float64", "uint8"),
    "nan": (np.full((4, 8, 8, 3), np.nan), "float64"),
    "bool": (IMAGES > 9, "bool"),
    "text": (IMAGES.astype(str), "<U"),
    "small": (IMAGES[:, :7, :7], "(4, 7, 7, 3)", "S >= 8"),
    "not_square": (IMAGES[:, :, :7], "(4, 8, 7, 3)"),
    "two_channels": (IMAGES[..., :2], "(4, 8, 8, 2)"),
    "alpha": (IMAGES[..., [0, 1, 2, 0]], "(4, 8, 8, 4)"),
    "a_scalar": (np.uint8(1), "()"),
    "flat": (IMAGES.reshape(4, -1), "(4, 192)"),
    "five_axes": (IMAGES[None], "(1, 4, 8, 8, 3)"),
}
CLASSES = {  # in the place of the labels
    "fewer": (LABELS[:3], "(3,)", "[4]"),
    "one_hot": (np.eye(2, dtype=int)[LABELS], "(8,)"),
    "float": (LABELS / 2, "float64"),
    "nan": (np.full(4, np.nan), "nan"),
    "text": (LABELS.astype(str), "<U"),
    "negative": (LABELS - 1, "-1"),
}
ARRAYS = {"no_images": ({"images": IMAGES[:0], "labels": LABELS[:0]}, "images", "(0, 8, 8, 3)")}
for field, table in (("images", PICTURES), ("labels", CLASSES)):
    ARRAYS |= {f"{field}_{k}": ({field: a}, field, *names) for k, (a, *names) in table.items()}


@pytest.mark.parametrize("kind", ARRAYS)
def test_arrays(kind, tmp_path, refuses):
    fields, *names = ARRAYS[kind]
    archive(tmp_path, **fields)
    refuses(*names)


def test_fields_that_are_missing(tmp_path, refuses):
    np.savez(tmp_path / "set.npz", pictures=IMAGES, labels=LABELS)
    refuses("images", "pictures")
    np.savez(tmp_path / "set.npz", images=IMAGES, classes=LABELS)
    refuses("labels", "classes")


@pytest.mark.parametrize("field", ["images", "labels"])
def test_a_pickle_is_never_loaded(field, tmp_path, refuses):
    place = tmp_path / "exploded"
    archive(tmp_path, **{field: bomb_array(place)})
    refuses("set.npz")
    write("set.npz", bomb_bytes(place))(tmp_path)
    refuses("set.npz")
    both(saved("x.npy", IMAGES), saved("y.npy", bomb_array(place)))(tmp_path)
    refuses("y.npy", images="x.npy", words=["--labels", tmp_path / "y.npy"])
    assert not place.exists()


CONTENTS = {"empty": b"", "text": b"no arrays", "zip": b"PK\x03\x04" + bytes(60), "one": b"\x93"}


@pytest.mark.parametrize("kind", CONTENTS)
@pytest.mark.parametrize("name", ["set.npz", "x.npy", "set"])
def test_damaged_files(kind, name, tmp_path, refuses):
    write(name, CONTENTS[kind])(tmp_path)
    refuses(name, images=name, words=["--labels", tmp_path / name])


def test_a_truncated_archive(tmp_path, refuses):
    archive(tmp_path)
    cut("set.npz", -40)(tmp_path)
    refuses("set.npz")


def test_labels_of_an_array(tmp_path, refuses):
    saved("x.npy", IMAGES)(tmp_path)
    refuses("--labels", images="x.npy")
    refuses("none.npy", images="x.npy", words=["--labels", tmp_path / "none.npy"])
    refuses("--labels", tmp_path, images="x.npy", words=["--labels", tmp_path])


def picture(name, side=8):
    def draw(root):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (side, side)).save(root / name)

    return draw


def beside(name, content):
    return both(picture("a/1.png"), write(name, content))


FOLDERS = {
    "empty": (lambda root: root.mkdir(), "0 sizes"),
    "no_images": (lambda root: (root / "ant").mkdir(parents=True), "0 sizes"),
    "mixed": (both(picture("a/1.png"), picture("b/2.png", 9)), "2 sizes"),
    "small": (picture("a/1.png", 5), "(1, 5, 5, 3)"),
    "damaged": (beside("a/2.png", b"\x89PNG\r\n\x1a\n.."), "2.png"),
    "empty_file": (beside("a/2.jpg", b""), "2.jpg"),
    "folder": (both(picture("a/1.png"), lambda root: (root / "a/2.png").mkdir()), "2.png"),
}


@pytest.mark.parametrize("kind", FOLDERS)
def test_folders(kind, tmp_path, refuses):
    damage, *names = FOLDERS[kind]
    damage(tmp_path / "set")
    refuses(*names, images="set")


OPTIONS = {
    "--seed -1": "seed = -1", "--batch_size 0": "batch_size = 0", "--batch_size -5": "batch_size = -5",
    "--frost_dir /nowhere": "frost_dir = '/nowhere'",
}  # fmt: skip


@pytest.mark.parametrize("words", OPTIONS)
def test_options(words, tmp_path, refuses):
    archive(tmp_path)
    refuses(OPTIONS[words], words=["--names", "contrast", *words.split()])


def test_frost_photographs_that_are_damaged(tmp_path, refuses):
    archive(tmp_path)
    words = ["--names", "frost", "--frost_dir", tmp_path / "frost"]
    both(*(write(f"frost/{name}", "no photograph") for name in FROST))(tmp_path)
    refuses("frost1.png", words=words)
    both(*(picture(f"frost/{name}", 16) for name in FROST))(tmp_path)
    refuses("size = 8", words=words)


BOTH = "make --out x --images y"
MORE = ["--names fogg", "--names ../fog", "--names", "--table cifar10", "--seed one"]
MORE += ["--batch_size 1.5", "--severity 3"]
test_words_that_are_not_understood = misspoken(
    command.main,
    *("", "mak", "make", "make --out x", "make --images x"),
    *(f"{BOTH} {more}" for more in MORE),
)


def test_the_place_to_write_is_taken(tmp_path, capsys):
    archive(tmp_path)
    write("out", "mine")(tmp_path)
    for out in (tmp_path / "out", tmp_path / "out" / "below"):
        line = ["make", "--out", out, "--images", tmp_path / "set.npz", "--names", "contrast"]
        command_refused(command.main, line, capsys, "out", untouched=[tmp_path])


def test_an_interrupted_file_leaves_nothing_under_its_name(tmp_path, monkeypatch):
    def breaks(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(make, "corrupt", breaks)
    with pytest.raises(KeyboardInterrupt):
        make.make(tmp_path / "out", IMAGES, LABELS, ["contrast"])
    assert [path.name for path in (tmp_path / "out").iterdir()] == []
