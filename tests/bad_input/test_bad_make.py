"""`python -m varmixup_jax.corruptions make` with bad arrays, files, folders and words."""

import numpy as np
import pytest
from PIL import Image
from refusing import bomb_array, bomb_bytes, check_line, command_refused, tree

from varmixup_jax.corruptions import __main__ as command

IMAGES = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3), np.uint8)
LABELS = np.arange(4) % 2


def words(place, *more, images="set.npz"):
    return ["make", "--out", place / "out", "--images", place / images, *more]


def archive(place, images=IMAGES, labels=LABELS, **more):
    np.savez(place / "set.npz", images=images, labels=labels, **more)


ARRAYS = {
    "float_images": ({"images": IMAGES / 255}, "images", "float64", "uint8"),
    "nan_images": ({"images": np.full((4, 8, 8, 3), np.nan)}, "images", "float64"),
    "bool_images": ({"images": IMAGES > 9}, "images", "bool"),
    "text_images": ({"images": IMAGES.astype(str)}, "images", "<U"),
    "small": ({"images": IMAGES[:, :7, :7]}, "images", "(4, 7, 7, 3)", "S >= 8"),
    "not_square": ({"images": IMAGES[:, :, :7]}, "images", "(4, 8, 7, 3)"),
    "two_channels": ({"images": IMAGES[..., :2]}, "images", "(4, 8, 8, 2)"),
    "alpha": ({"images": IMAGES[..., [0, 1, 2, 0]]}, "images", "(4, 8, 8, 4)"),
    "no_images": ({"images": IMAGES[:0], "labels": LABELS[:0]}, "images", "(0, 8, 8, 3)"),
    "a_scalar": ({"images": np.uint8(1)}, "images", "()"),
    "flat": ({"images": IMAGES.reshape(4, -1)}, "images", "(4, 192)"),
    "five_axes": ({"images": IMAGES[None]}, "images", "(1, 4, 8, 8, 3)"),
    "fewer_labels": ({"labels": LABELS[:3]}, "labels", "(3,)", "[4]"),
    "one_hot": ({"labels": np.eye(2, dtype=int)[LABELS]}, "labels", "(8,)"),
    "float_labels": ({"labels": LABELS / 2}, "labels", "float64"),
    "nan_labels": ({"labels": np.full(4, np.nan)}, "labels", "nan"),
    "text_labels": ({"labels": LABELS.astype(str)}, "labels", "<U"),
    "negative_labels": ({"labels": LABELS - 1}, "labels", "-1"),
}


@pytest.mark.parametrize("kind", ARRAYS)
def test_arrays(kind, tmp_path, capsys):
    fields, *names = ARRAYS[kind]
    archive(tmp_path, **fields)
    command_refused(command.main, words(tmp_path), capsys, *names, untouched=[tmp_path])


def test_fields_that_are_missing(tmp_path, capsys):
    np.savez(tmp_path / "set.npz", pictures=IMAGES, labels=LABELS)
    command_refused(command.main, words(tmp_path), capsys, "images", "pictures")
    np.savez(tmp_path / "set.npz", images=IMAGES, classes=LABELS)
    command_refused(command.main, words(tmp_path), capsys, "labels", "classes")


@pytest.mark.parametrize("field", ["images", "labels"])
def test_a_pickle_is_never_loaded(field, tmp_path, capsys):
    place = tmp_path / "exploded"
    archive(tmp_path, **{field: bomb_array(place)})
    command_refused(command.main, words(tmp_path), capsys, "set.npz", untouched=[tmp_path])
    (tmp_path / "set.npz").write_bytes(bomb_bytes(place))
    command_refused(command.main, words(tmp_path), capsys, "set.npz", untouched=[tmp_path])
    np.save(tmp_path / "x.npy", IMAGES)
    np.save(tmp_path / "y.npy", bomb_array(place))
    line = words(tmp_path, "--labels", tmp_path / "y.npy", images="x.npy")
    command_refused(command.main, line, capsys, "y.npy", untouched=[tmp_path])
    assert not place.exists()


CONTENTS = {"empty": b"", "text": b"no arrays", "zip": b"PK\x03\x04" + bytes(60), "one": b"\x93"}


@pytest.mark.parametrize("kind", CONTENTS)
@pytest.mark.parametrize("name", ["set.npz", "x.npy", "set"])
def test_damaged_files(kind, name, tmp_path, capsys):
    (tmp_path / name).write_bytes(CONTENTS[kind])
    line = words(tmp_path, "--labels", tmp_path / name, images=name)
    command_refused(command.main, line, capsys, name, untouched=[tmp_path])


def test_a_truncated_archive(tmp_path, capsys):
    archive(tmp_path)
    content = (tmp_path / "set.npz").read_bytes()
    (tmp_path / "set.npz").write_bytes(content[:-40])
    command_refused(command.main, words(tmp_path), capsys, "set.npz", untouched=[tmp_path])


def test_labels_of_an_array(tmp_path, capsys):
    np.save(tmp_path / "x.npy", IMAGES)
    line = words(tmp_path, images="x.npy")
    command_refused(command.main, line, capsys, "--labels", untouched=[tmp_path])
    line += ["--labels", tmp_path / "none.npy"]
    command_refused(command.main, line, capsys, "none.npy", untouched=[tmp_path])
    line[-1] = tmp_path
    command_refused(command.main, line, capsys, "--labels", str(tmp_path), untouched=[tmp_path])


def picture(path, side=8):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (side, side)).save(path)


FOLDERS = {
    "empty": (lambda root: root.mkdir(), "0 sizes"),
    "no_images": (lambda root: (root / "ant").mkdir(parents=True), "0 sizes"),
    "mixed": (lambda r: [picture(r / "a/1.png"), picture(r / "b/2.png", 9)], "2 sizes"),
    "small": (lambda root: picture(root / "a" / "1.png", 5), "(1, 5, 5, 3)"),
    "damaged": (
        lambda r: [picture(r / "a/1.png"), (r / "a/2.png").write_bytes(b"\x89PNG\r\n\x1a\n..")],
        "2.png",
    ),
    "empty_file": (lambda r: [picture(r / "a/1.png"), (r / "a/2.jpg").write_bytes(b"")], "2.jpg"),
    "folder_as_image": (lambda r: [picture(r / "a/1.png"), (r / "a/2.png").mkdir()], "2.png"),
}


@pytest.mark.parametrize("kind", FOLDERS)
def test_folders(kind, tmp_path, capsys):
    change, *names = FOLDERS[kind]
    change(tmp_path / "set")
    line = words(tmp_path, images="set")
    command_refused(command.main, line, capsys, *names, untouched=[tmp_path])


OPTIONS = [
    (["--seed", "-1"], "seed = -1"),
    (["--batch_size", "0"], "batch_size = 0"),
    (["--batch_size", "-5"], "batch_size = -5"),
    (["--frost_dir", "/nowhere"], "frost_dir = '/nowhere'"),
]


@pytest.mark.parametrize(("options", "message"), OPTIONS, ids=str)
def test_options(options, message, tmp_path, capsys):
    archive(tmp_path)
    line = words(tmp_path, "--names", "contrast", *options)
    command_refused(command.main, line, capsys, message, untouched=[tmp_path])


def test_frost_photographs_that_are_damaged(tmp_path, capsys):
    archive(tmp_path)
    frost = tmp_path / "frost"
    frost.mkdir()
    for name in ("frost1.png", "frost2.png", "frost3.png", "frost4.jpg", "frost5.jpg"):
        (frost / name).write_bytes(b"no photograph")
    line = words(tmp_path, "--names", "frost", "--frost_dir", frost)
    command_refused(command.main, line, capsys, "frost1.png", untouched=[tmp_path])
    for name in ("frost1.png", "frost2.png", "frost3.png", "frost4.jpg", "frost5.jpg"):
        picture(frost / name, 16)
    command_refused(command.main, line, capsys, "size = 8", untouched=[tmp_path])


def test_the_place_to_write_is_taken(tmp_path, capsys):
    archive(tmp_path)
    (tmp_path / "out").write_text("mine")
    line = words(tmp_path, "--names", "contrast")
    command_refused(command.main, line, capsys, "out", untouched=[tmp_path])
    line[2] = tmp_path / "out" / "below"
    command_refused(command.main, line, capsys, "out", untouched=[tmp_path])


WRONG_WORDS = [
    [],
    ["mak"],
    ["make"],
    ["make", "--out", "x"],
    ["make", "--images", "x"],
    ["make", "--out", "x", "--images", "y", "--names", "fogg"],
    ["make", "--out", "x", "--images", "y", "--names", "../fog"],
    ["make", "--out", "x", "--images", "y", "--names"],
    ["make", "--out", "x", "--images", "y", "--table", "cifar10"],
    ["make", "--out", "x", "--images", "y", "--seed", "one"],
    ["make", "--out", "x", "--images", "y", "--batch_size", "1.5"],
    ["make", "--out", "x", "--images", "y", "--severity", "3"],
]


@pytest.mark.parametrize("arguments", WRONG_WORDS, ids=" ".join)
def test_words_that_are_not_understood(arguments, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        command.main(arguments)
    assert ended.value.code == 2
    printed = capsys.readouterr().err
    check_line(printed.splitlines()[-1], "error:")
    assert tree(tmp_path) == tree() | {str(tmp_path): ("directory", "")}


def test_an_interrupted_file_leaves_nothing_under_its_name(tmp_path, monkeypatch):
    from varmixup_jax.corruptions import make

    def breaks(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(make, "corrupt", breaks)
    with pytest.raises(KeyboardInterrupt):
        make.make(tmp_path / "out", IMAGES, LABELS, ["contrast"])
    assert [path.name for path in (tmp_path / "out").iterdir()] == []
