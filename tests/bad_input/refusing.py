"""What every refusal is held to: one line, the names in it, no file touched."""

import contextlib
import hashlib
import io
import os
from pathlib import Path

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
def unchanged(*places):
    """The block leaves every file in these places as it was."""
    before = tree(*places)
    yield
    assert tree(*places) == before


@contextlib.contextmanager
def refused(*names, untouched=()):
    """The block raises a refusal of one line with `names`, and leaves `untouched` as it was."""
    with unchanged(*untouched), pytest.raises(REFUSALS) as caught:
        yield caught
    check_line(str(caught.value), *names)


def accepted_or_refused(call, *names):
    """The call ends well, or raises a refusal of one line with `names`."""
    try:
        call()
    except REFUSALS as error:
        check_line(str(error), *names)


def command_refused(main, words, *names, untouched=()):
    """The command ends with exit code 2 and one line on the standard error, nothing written."""
    printed, error = io.StringIO(), io.StringIO()
    with (
        unchanged(*untouched),
        contextlib.redirect_stdout(printed),
        contextlib.redirect_stderr(error),
    ):
        code = main([str(word) for word in words])
    assert (code, printed.getvalue()) == (2, ""), error.getvalue()
    check_line(error.getvalue(), *names)
    return error.getvalue()


def damaged(table, read, *files):
    """A test for each `{id: (damage, *names)}`: `root`, damaged so, is refused by `read`.

    The refusal has the names in it, and the whole path of the `files`; unpickling in `root` shows.
    """

    @pytest.mark.parametrize("kind", table)
    def test(kind, root, monkeypatch):
        monkeypatch.chdir(root)
        damage, *names = table[kind]
        damage(root)
        with refused(*names, *(root / file for file in files), untouched=[root]):
            read(root)

    return test


def rejected(main, table, words=None):
    """The same of a command with `words`; None: the ids are the words."""

    @pytest.mark.parametrize("kind", table)
    def test(kind, root, refuses):
        damage, *names = table[kind]
        damage(root)
        refuses(main, (kind if words is None else words).split(" "), *names)

    return test


def misspoken(main, *lines):
    """A test for each line of words that the command's parser refuses."""

    @pytest.mark.parametrize("line", lines)
    def test(line, tmp_path, monkeypatch, capsys):
        monkeypatch.chdir(tmp_path)
        with unchanged(tmp_path), pytest.raises(SystemExit) as ended:
            main(line.split())
        assert ended.value.code == 2
        check_line(capsys.readouterr().err.splitlines()[-1], "error:")

    return test
