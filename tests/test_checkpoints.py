"""Checkpoints: kept, damaged, unreadable for a while, written behind the run's back."""

import errno
import shutil
import threading
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest
from jax.errors import JaxRuntimeError

from varmixup_jax.training import checkpoints as module
from varmixup_jax.training import damage
from varmixup_jax.training.checkpoints import Checkpoints, digest
from varmixup_jax.training.loop import Preempted

# Orbax's coroutines complain when they are collected after their event loop.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

STATE = {"w": jnp.sqrt(jnp.arange(512.0))}  # fewer would lie among the metadata


def eio():
    return OSError(errno.EIO, "Input/output error")


def full():
    return JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 8 bytes")


def wrapped(error):
    try:
        raise RuntimeError("while reading") from error
    except RuntimeError as outer:
        return outer


@pytest.fixture
def slept(monkeypatch):
    """The seconds that a reader would have waited before it tried again."""
    seconds = []
    monkeypatch.setattr(damage.time, "sleep", seconds.append)
    return seconds


def failing(*errors):
    """A function that raises these, one a call, the last one for ever; a None lets the call through."""
    left = list(errors)

    def read(*_, **__):
        error = left.pop(0) if len(left) > 1 else left[0]
        if error is not None:
            raise error
        return "read"

    return read


PASSING = {
    "disk": eio(),
    "memory": MemoryError(),
    "device": full(),
    "device, lost": JaxRuntimeError("INTERNAL: no such stream"),
    "device, in words": ValueError("RESOURCE_EXHAUSTED: out of memory"),
    "disk, wrapped": wrapped(eio()),
}


@pytest.mark.parametrize("kind", PASSING)
def test_what_may_pass_is_tried_again_and_then_raised_as_it_is(kind, slept, tmp_path):
    error = PASSING[kind]
    assert damage.read_whole(failing(error, error, error, None), tmp_path) == "read"
    assert slept == [0.1, 0.5, 2.0]
    with pytest.raises(type(error)) as raised:
        damage.read_whole(failing(error), tmp_path)
    assert raised.value is error
    assert slept == [0.1, 0.5, 2.0] * 2


@pytest.mark.parametrize("error", [ValueError("no JSON"), FileNotFoundError("no array")], ids=repr)
def test_what_is_not_understood_twice_over_the_same_bytes_is_damaged(error, slept, tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "array").write_bytes(b"x")
    assert damage.read_whole(failing(error, None), tmp_path) == "read"
    with pytest.raises(damage.Damaged, match=rf"^{tmp_path} cannot be read \(.*no (JSON|array)"):
        damage.read_whole(failing(error), tmp_path)
    assert slept == [0.1, 0.1]


def test_bytes_that_differ_from_look_to_look_prove_nothing(slept, tmp_path):
    file = tmp_path / "array"

    def read():
        file.write_bytes(bytes(len(slept)))
        raise ValueError("no JSON")

    for place in (file, tmp_path):
        with pytest.raises(ValueError, match=r"^no JSON$"):
            damage.read_whole(read, place)


@pytest.mark.skipif(
    not Path("/proc/self/mem").exists(), reason="needs a file that fails to be read"
)
def test_bytes_that_cannot_be_read_prove_nothing(slept, tmp_path):
    """Whatever the parser makes of it: reading the first byte of one's own memory is a real EIO."""
    (tmp_path / "array").symlink_to("/proc/self/mem")
    with pytest.raises(OSError, match="Input/output error") as raised:
        damage.read_whole(failing(ValueError("no JSON")), tmp_path)
    assert raised.value.errno == errno.EIO
    assert len(slept) == 3


def test_a_fingerprint_is_of_names_and_bytes(tmp_path):
    seen = set()
    for name, content in [("a", b""), ("b", b""), ("b", b"x"), ("b", b"y")]:
        for path in tmp_path.iterdir():
            path.unlink()
        (tmp_path / name).write_bytes(content)
        assert damage.fingerprint(tmp_path) == damage.fingerprint(tmp_path)
        seen.add(damage.fingerprint(tmp_path))
    assert len(seen) == 4


def test_sigterm_is_no_damage(slept, tmp_path):
    with pytest.raises(Preempted):
        damage.read_whole(failing(Preempted()), tmp_path)
    assert slept == []


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Steps 1 and 2, the state times the step."""
    root = tmp_path_factory.mktemp("saved") / "c"
    with Checkpoints(root) as checkpoints:
        for step in (1, 2):
            state = jax.tree.map(lambda leaf, by=step: by * leaf, STATE)
            checkpoints.save(step, state, {"val_accuracy": 0.1 * step})
        checkpoints.wait()
    return root


@pytest.fixture
def root(saved, tmp_path):
    return shutil.copytree(saved, tmp_path / "c")


def tree(root):
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def latest(root, monkeypatch=None, *errors):
    """The newest state, where Orbax raises these errors first."""
    if errors:
        fail, real = failing(*errors), ocp.CheckpointManager.restore

        def restore(*arguments, **options):
            fail()
            return real(*arguments, **options)

        monkeypatch.setattr(ocp.CheckpointManager, "restore", restore)
    with Checkpoints(root) as checkpoints:
        return checkpoints.restore_latest(STATE)["w"]


@pytest.mark.parametrize("error", [eio(), full()], ids=repr)
def test_a_passing_failure_costs_no_checkpoint(error, root, slept, monkeypatch):
    """Once, and the newest is read; always, and the run stops: it never goes on from an older state."""
    before = tree(root)
    np.testing.assert_array_equal(latest(root, monkeypatch, error, None), 2 * STATE["w"])
    with pytest.raises(type(error)) as raised:
        latest(root, monkeypatch, error)
    assert raised.value is error
    assert tree(root) == before


def flip(file):
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 0xFF
    file.write_bytes(content)


def arrays(place):
    """The file with the arrays' bytes in it."""
    return max((place / "state").rglob("ocdbt.process_0/d/*"), key=lambda p: p.stat().st_size)


DAMAGES = {
    "arrays": lambda place: flip(arrays(place)),
    "digest": lambda place: (place / "digest" / "metadata").write_text('{"sha256": "0"}'),
    "score": lambda place: (place / "metrics" / "metrics").write_text('{"val_acc'),
    "no score": lambda place: (place / "metrics" / "metrics").write_text("{}"),
    "empty": lambda place: [p.write_bytes(b"") for p in place.rglob("state/**/*") if p.is_file()],
}


@pytest.mark.parametrize("kind", DAMAGES)
def test_a_damaged_checkpoint_is_set_aside_and_the_one_before_used(kind, root, slept):
    DAMAGES[kind](root / "2")
    before = tree(root / "2")
    text = rf"^checkpoint {root / '2'}\S* cannot be read .* kept as 2.damaged; using {root / '1'}$"
    with pytest.warns(UserWarning, match=text):
        np.testing.assert_array_equal(latest(root), STATE["w"])
    assert tree(root / "2.damaged") == before
    assert sorted(path.name for path in root.iterdir()) == ["1", "2.damaged"]


def test_a_step_that_is_damaged_again_has_a_name_of_its_own(root, slept):
    for aside in ("2.damaged", "2.damaged1"):
        flip(arrays(root / "2"))
        with Checkpoints(root) as checkpoints:
            with pytest.warns(UserWarning, match=f"kept as {aside};"):
                checkpoints.restore_latest(STATE)
            assert checkpoints.steps() == [1]
            checkpoints.save(2, STATE, {"val_accuracy": 0.5})
        assert latest(root) is not None
        assert (root / aside).is_dir()


def test_where_all_are_damaged_all_stay(root, slept):
    for name in ("1", "2"):
        flip(arrays(root / name))
    before = tree(root)
    with pytest.raises(ValueError, match=rf"no readable checkpoint in {root}: step 2: .*bytes"):
        latest(root)
    assert tree(root) == before
    for name in ("1", "2"):
        DAMAGES["score"](root / name)
    before = tree(root)
    with pytest.raises(ValueError, match=rf"no readable checkpoint in {root}: step 2: .*metrics"):
        latest(root)
    assert tree(root) == before


def test_the_last_and_the_best_are_kept(tmp_path):
    with Checkpoints(tmp_path / "c", keep=2) as checkpoints:
        for step, score in enumerate([0.1, 0.9, 0.3, 0.2, 0.5], start=1):
            state = jax.tree.map(lambda leaf, by=step: leaf + by, STATE)
            checkpoints.save(step, state, {"val_accuracy": score})
        checkpoints.wait()
        assert checkpoints.steps() == [2, 4, 5]
        assert checkpoints.best_step() == 2
        np.testing.assert_array_equal(checkpoints.restore(2, STATE)["w"], STATE["w"] + 2)
        assert checkpoints.metrics(2) == {"val_accuracy": 0.9}


def test_the_digest_is_made_by_a_thread_and_appears_with_its_checkpoint(tmp_path, monkeypatch):
    go, threads = threading.Event(), []

    def slow(tree):
        threads.append(threading.current_thread())
        assert go.wait(60)
        return digest(tree)

    monkeypatch.setattr(module, "digest", slow)
    state = {"w": np.array(STATE["w"])}
    with Checkpoints(tmp_path / "c", best=False) as checkpoints:
        checkpoints.save(1, state)  # returns, the digest still to come
        state["w"] += 1.0  # as a step does that is given the buffers
        assert list((tmp_path / "c").iterdir()) == []
        go.set()
        checkpoints.wait()
        assert threads[0] is not threading.main_thread()
        assert (tmp_path / "c" / "1" / "digest").is_dir()
        np.testing.assert_array_equal(checkpoints.restore(1, STATE)["w"], STATE["w"])


@pytest.mark.parametrize("call", ["save", "wait", "steps", "restore_latest", "close"])
def test_what_a_save_raises_the_next_call_raises(call, tmp_path, monkeypatch):
    with Checkpoints(tmp_path / "c", best=False) as checkpoints:
        checkpoints.save(1, STATE)
        checkpoints.wait()
        with monkeypatch.context() as broken:
            broken.setattr(module, "digest", failing(OSError(errno.ENOSPC, "No space left")))
            checkpoints.save(2, STATE)
            arguments = {"save": (3, STATE), "restore_latest": (STATE,)}.get(call, ())
            with pytest.raises(OSError, match="No space left"):
                getattr(checkpoints, call)(*arguments)
        if call != "close":
            assert checkpoints.steps() == [1]  # raised once; what was whole is there


def test_the_digest_tells_names_types_shapes_and_bytes_apart():
    trees = [
        {"a": np.zeros((2, 3), np.float32)},
        {"b": np.zeros((2, 3), np.float32)},
        {"a": np.zeros((3, 2), np.float32)},
        {"a": np.zeros((2, 3), np.int32)},
        {"a": np.zeros((2, 3), jnp.bfloat16)},
        {"a": np.full((2, 3), -0.0, np.float32)},
        {"a": np.zeros((2, 0), np.float32)},
        {"a": np.float32(0)},
        {"a": np.arange(6.0, dtype=np.float32).reshape(2, 3)},
        {"a": np.arange(6.0, dtype=np.float32).reshape(3, 2).T},
    ]
    assert len({digest(tree) for tree in trees}) == len(trees)
    assert digest(trees[-1]) == digest({"a": jnp.asarray(trees[-1]["a"])})
