"""Who holds a directory: by a lock, or by a file where the file system has no locks."""

import errno
import os
import socket
import subprocess
import sys
from types import SimpleNamespace

import pytest

from varmixup_jax.runs import locks
from varmixup_jax.runs.locks import Held, locked

ME = f"process {os.getpid()} on {socket.gethostname()}"
# `pytest.warns` still sees it.
pytestmark = pytest.mark.filterwarnings("ignore:the file system of .* has no locks")
LOCKS = [None, errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP]


@pytest.fixture(params=LOCKS, ids=lambda code: errno.errorcode.get(code, "locks"))
def place(request, tmp_path, monkeypatch):
    """A directory on a file system with locks, or whose `flock` fails so."""
    if request.param is not None:

        def flock(*_):
            raise OSError(request.param, os.strerror(request.param))

        monkeypatch.setattr(locks.fcntl, "flock", flock)
    return tmp_path / "run"


def test_a_directory_is_held_by_one_at_a_time_who_is_named(place):
    with locked(place):
        with pytest.raises(Held, match=ME), locked(place):
            pytest.fail("held twice")
        with locked(place.with_name("other")):
            pass
    with locked(place):
        pass


def test_who_waits_says_for_whom_at_once_and_every_minute(place, monkeypatch):
    now, said = [100.0], []
    other = locked(place)
    other.__enter__()

    def sleep(seconds):
        now[0] += seconds
        if now[0] > 245.0 and len(said) < 4:
            said.append("gone")
            other.__exit__(None, None, None)

    monkeypatch.setattr(locks, "time", SimpleNamespace(monotonic=lambda: now[0], sleep=sleep))
    with locked(place, said.append):
        pass
    *waits, gone = said
    assert gone == "gone"
    assert [text.rpartition("(")[2] for text in waits] == ["0 s)", "60 s)", "120 s)"]
    assert all(text.startswith(ME) for text in waits)
    with locked(place, said.append):
        assert said[-1] == "gone"  # nobody to wait for


def test_no_locks_are_said_to_be_missing(tmp_path, monkeypatch):
    def flock(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(locks.fcntl, "flock", flock)
    with (
        pytest.warns(UserWarning, match="has no locks; using .lock.held instead"),
        locked(tmp_path),
    ):
        assert (tmp_path / ".lock.held").read_text() == f"{socket.gethostname()} {os.getpid()}"
    assert not (tmp_path / ".lock.held").exists()
    monkeypatch.setattr(locks.fcntl, "flock", lambda *_: (_ for _ in ()).throw(OSError(5, "EIO")))
    with pytest.raises(OSError, match="EIO"), locked(tmp_path):
        pytest.fail("a failing disk is no missing lock")


def test_what_a_killed_process_leaves_is_stale_here_and_named_elsewhere(tmp_path, monkeypatch):
    def flock(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(locks.fcntl, "flock", flock)
    ended = subprocess.run([sys.executable, "-S", "-c", "import os; print(os.getpid())"],
                           capture_output=True, text=True, check=True)  # fmt: skip
    mark = tmp_path / ".lock.held"
    mark.write_text(f"{socket.gethostname()} {ended.stdout.strip()}")
    with locked(tmp_path):
        assert mark.read_text().endswith(f" {os.getpid()}")
    mark.write_text("elsewhere 1")
    with pytest.raises(Held, match=f"^process 1 on elsewhere; if that has ended, remove {mark}$"):
        locked(tmp_path).__enter__()
    mark.write_text("")  # between its making and its writing
    with pytest.raises(Held, match=f"^another process; .* remove {mark}$"):
        locked(tmp_path).__enter__()
