"""What every refusal is held to: one line, the names in it, and no file touched."""

import contextlib
import hashlib
import os
import pickle
from pathlib import Path

import numpy as np
import pytest

REFUSALS = (ValueError, OSError)  # what a command turns into one line


def tree(*places):
    """Every path below `places` with what is there: kind, bytes, link target."""
    found = {}
    for place in map(Path, places):
        for path in [place, *sorted(place.rglob("*"))]:
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
    refusal = None
    try:
        call()
    except REFUSALS as error:
        refusal = str(error)
    if refusal is not None:
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


class Bomb:
    """Unpickling one makes a file."""

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


def refusal(run, words, *names, place, **options):
    """`run(*words)` is refused in one line with every name, and leaves `place` as it was."""
    before = tree(place)
    code, printed = run(*words, **options)
    assert code == 2, printed
    assert printed.startswith("error: ")
    check_line(printed, *names)
    assert tree(place) == before
