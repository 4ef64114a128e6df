"""What every refusal is held to: one line, the names in it, no file touched. Ways to damage files."""

import contextlib
import hashlib
import json
import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest

REFUSALS = (ValueError, OSError)  # what a command turns into one line


def tree(*places):
    """Every path below `places` with what is there: kind, bytes, link target."""
    found = {}
    for path in (path for place in map(Path, places) for path in [place, *place.rglob("*")]):
        if path.is_symlink():
            found[str(path)] = ("link", os.readlink(path))
        elif path.is_file():
            found[str(path)] = ("file", hashlib.sha256(path.read_bytes()).hexdigest())
        else:
            found[str(path)] = ("directory" if path.is_dir() else "nothing", "")
    return found


def check_line(text, *names):
    """`text` is one line, not a repr of a trace, and has every name in it."""
    lines = [line for line in text.splitlines() if line.strip()]
    assert len(lines) == 1, text
    assert "Traceback" not in text
    assert len(text) < 2000
    for name in names:
        assert str(name) in text, f"{name!r} is not in {text!r}"


@contextlib.contextmanager
def refused(*names, untouched=()):
    """The block raises a refusal of one line with `names`, and leaves `untouched` as it was."""
    before = tree(*untouched)
    with pytest.raises(REFUSALS) as caught:
        yield caught
    check_line(str(caught.value), *names)
    assert tree(*untouched) == before


def accepted_or_refused(call, *names):
    """The call ends well, or raises a refusal of one line with `names`."""
    try:
        call()
    except REFUSALS as error:
        refusal = str(error)
    else:
        return
    check_line(refusal, *names)


def command_refused(main, arguments, capsys, *names, untouched=()):
    """The command ends with exit code 2 and one line on the standard error, nothing written."""
    before = tree(*untouched)
    capsys.readouterr()
    assert main([str(argument) for argument in arguments]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    check_line(printed.err, *names)
    assert tree(*untouched) == before


def refusal(run, words, *names, place, **options):
    """`run(*words)` is refused in one line with every name, and leaves `place` as it was."""
    before = tree(place)
    code, printed = run(*words, **options)
    assert code == 2, printed
    assert printed.startswith("error: ")
    check_line(printed, *names)
    assert tree(place) == before


def damaged(table, read):
    """A test for each `{id: (damage, *names)}`: of `root`, damaged so, `read(root)` is refused."""

    @pytest.mark.parametrize("kind", table)
    def test(kind, root):
        damage, *names = table[kind]
        damage(root)
        with refused(*names, untouched=[root]):
            read(root)

    return test


def misspoken(main, *lines):
    """A test for each line of words that the command's parser refuses."""

    @pytest.mark.parametrize("line", lines)
    def test(line, tmp_path, monkeypatch, capsys):
        monkeypatch.chdir(tmp_path)
        with pytest.raises(SystemExit) as ended:
            main(line.split())
        assert ended.value.code == 2
        check_line(capsys.readouterr().err.splitlines()[-1], "error:")
        assert tree(tmp_path) == {str(tmp_path): ("directory", "")}

    return test


class Bomb:
    """Unpickling one makes a directory."""

    def __init__(self, place):
        self.place = place

    def __reduce__(self):
        return (os.mkdir, (str(self.place),))


def bomb_array(place):
    """An object array that makes a directory at `place` when it is unpickled."""
    array = np.empty(1, object)
    array[0] = Bomb(place)
    return array


def bomb_bytes(place):
    """The same as a bare pickle."""
    return pickle.dumps(Bomb(place))


# Damages: each is a function of the directory that it changes.


def write(name, content):
    """A file of these bytes, or of this text."""

    def damage(root):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content if isinstance(content, bytes) else content.encode())

    return damage


def altered(name, change):
    """The file with `change(bytes)` as its bytes."""
    return lambda root: (root / name).write_bytes(change((root / name).read_bytes()))


def cut(name, size):
    """Its first bytes only: so many, all but so many (< 0), or that share of them (a float)."""
    return altered(
        name, lambda old: old[: int(size * len(old)) if isinstance(size, float) else size]
    )


def flip(name, every):
    """Every so many bytes, one with all its bits turned."""
    return altered(name, lambda old: bytes(b ^ 0xFF * (i % every == 0) for i, b in enumerate(old)))


def edit(name, alter):
    """A JSON file, `alter(value)` done to what it holds."""

    def change(old):
        value = json.loads(old)
        alter(value)
        return json.dumps(value).encode()

    return altered(name, change)


def saved(name, array):
    """An npy file of another array."""
    return lambda root: np.save(root / name, array)


def both(*damages):
    """All of them, one after the other."""
    return lambda root: [damage(root) for damage in damages]


def remove(*names):
    """No such files, no such directories."""

    def damage(root):
        for path in map(root.joinpath, names):
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    return damage


def folder(name):
    """A directory in its place."""
    return both(remove(name), lambda root: (root / name).mkdir())


def linked(name, target):
    """A link in its place."""
    return both(remove(name), lambda root: (root / name).symlink_to(target))
