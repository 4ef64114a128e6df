"""Two processes of four devices train and evaluate as one of eight does, and end together."""

import json
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import cluster_worker as worker
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from varmixup_jax import cluster
from varmixup_jax.cluster import joining
from varmixup_jax.training.checkpoints import Checkpoints

WORKER = Path(worker.__file__)
PROCESSES, DEVICES, LIMIT = 2, 4, 480
LOST_LINE = "error: another process of this run was lost; the same command resumes"


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def launch(scenario, directory, awaited=tuple(range(PROCESSES))):
    """Runs a scenario until the awaited processes end: `[(exit code, stderr)]` of all.

    The others are killed then.
    """
    address = f"127.0.0.1:{free_port()}"
    env = {k: v for k, v in os.environ.items() if not k.startswith(("JAX_", "SLURM_", "OMPI_"))}
    env |= {"JAX_PLATFORMS": "cpu", "PYTHONWARNINGS": "error"}
    env["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"
    running, files = [], []
    for process in range(PROCESSES):
        arguments = [scenario, directory, address, PROCESSES, process, DEVICES]
        files.append((directory / f"{scenario}-{process}.err").open("w+"))
        command = [sys.executable, str(WORKER), *map(str, arguments)]
        running.append(
            subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=files[-1])
        )
    until = time.monotonic() + LIMIT
    try:
        while ended := time.monotonic() < until:
            if all(running[process].poll() is not None for process in awaited):
                break
            time.sleep(0.05)
    finally:
        for one in running:
            one.kill()
            one.wait()
    out = []
    for one, file in zip(running, files, strict=True):
        with file:
            file.seek(0)
            out.append((one.returncode, file.read()))
    assert ended, f"{scenario} did not end within {LIMIT} s: {out}"
    return out


def damaged(directory):
    """Two checkpoints by one process on one device; the newer cannot be read."""
    with Checkpoints(directory) as checkpoints:
        for step in (1, 2):
            state = jax.tree.map(lambda leaf, by=step: jnp.asarray(leaf) * by, worker.SAVED)
            checkpoints.save(step, state, {"val_accuracy": 0.5})
        checkpoints.wait()
    for path in (directory / "2" / "state").rglob("*"):
        if path.is_file():
            path.write_bytes(b"")


@pytest.fixture(scope="module")
def together(tmp_path_factory):
    """What the two processes left: a directory, and what each of them saw."""
    directory = tmp_path_factory.mktemp("together")
    for layout in ("here", "everywhere"):
        damaged(directory / layout)
    out = launch("numbers", directory)
    assert [code for code, _ in out] == [0, 0], out
    seen = [json.loads((directory / f"seen-{i}.json").read_text()) for i in range(PROCESSES)]
    return directory, seen


def load(path):
    with np.load(path) as file:
        return dict(file)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The same by this process: the state, the results and the log of each mapping."""
    return {via: worker.trained(via, tmp_path_factory.mktemp(via)) for via in ("jit", "pmap")}


@pytest.mark.parametrize("via", ["jit", "pmap"])
def test_training_and_evaluation_give_the_numbers_of_one_process(via, together, alone):
    directory, seen = together
    state, results, log = alone[via]
    expected = worker.leaves(state, results)
    first, second = (load(directory / f"{via}-{process}.npz") for process in range(PROCESSES))
    assert first.keys() == second.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(first[name], second[name])
        np.testing.assert_allclose(first[name], value, atol=1e-5, err_msg=name)
    losses = log.pop("losses")
    for one in seen:
        np.testing.assert_allclose(one[via].pop("losses"), losses, atol=1e-5)
        assert one[via] == log
    assert log["saved"] == [4, 8]
    assert log["best"] == 4
    assert log["restored"]


def test_keys_belong_to_batches_not_to_processes(together):
    expected = worker.drawn()
    for process in range(PROCESSES):
        found = load(together[0] / f"drawn-{process}.npz")
        for name, value in expected.items():
            assert found[name].dtype == value.dtype
            np.testing.assert_array_equal(found[name], value)


def test_the_processes_agree(together):
    for process, seen in enumerate(together[1]):
        assert (seen["count"], seen["lead"]) == (2, process == 0)
        assert seen["from_lead"] == "lead"
        assert seen["on_lead"] == [0, "lead"]
        assert seen["value_error"] == ["ValueError", "no good"]
        assert seen["runtime_error"][0] == ("KeyError" if process == 0 else "RuntimeError")
        assert "gone" in seen["runtime_error"][1]
        assert seen["same"] is None
        text = "c = 0: must be the same on all processes (process 1: 1)"
        assert seen["different"] == ["ValueError", text]
        assert seen["votes"] == [False, False, True, False]
        text = "devices = 3: must be equally many of every process (there are 3, 0)"
        assert seen["uneven"] == ["ValueError", text]
    kind, text = together[1][0]["late"]
    assert "DEADLINE_EXCEEDED" in text, kind


def test_a_checkpoint_of_one_process_is_read_by_two(together):
    for process, seen in enumerate(together[1]):
        for layout, devices in (("here", 1), ("everywhere", 8)):
            found = seen[layout]
            assert (found["w"], found["n"]) == ([0.0, 1.0, 2.0], 7)
            assert found["devices"] == devices
            assert found["steps"] == [1]
            assert len(found["warned"]) == (process == 0)
            if process == 0:
                assert "2 cannot be read" in found["warned"][0]


def test_a_checkpoint_of_two_processes_is_read_by_one(together):
    directory, _ = together
    mapping = worker.distribute("jit", jax.devices()[:1])
    _, like, _ = worker.linear(mapping)
    with Checkpoints(directory / "jit") as checkpoints:
        state = checkpoints.restore_latest(like)
    saved = load(directory / "jit-0.npz")
    for name, value in worker.leaves(jax.device_get(state), {}).items():
        np.testing.assert_array_equal(value, saved[name])


def check_lost(code, text):
    """One line, the last there is, soon after `struck`; or an abort by Gloo."""
    # Seldom, a message that the lost process has still sent meets the wrong collective.
    if code == -6 and "gloo::EnforceNotMet" in text:
        return
    assert code == cluster.LOST, text
    assert text.splitlines()[-1] == LOST_LINE, text
    assert text.count("error: ") == 1


def test_a_killed_process_ends_the_others_and_a_restart_resumes(alone, tmp_path):
    out = launch("killed", tmp_path)
    seconds = time.time() - (tmp_path / "struck").stat().st_mtime
    assert out[1][0] == -9
    check_lost(*out[0])
    assert seconds < 3 * worker.HEARTBEAT
    assert (tmp_path / "linear" / str(worker.EVERY)).is_dir()
    # By one process, which is quick; by two, as each restores above, in `cluster/test_slurm.py`.
    state, results, log = worker.trained("jit", tmp_path / "linear")
    assert log["start"] == worker.EVERY
    found = worker.leaves(state, results)
    for name, value in worker.leaves(*alone["jit"][:2]).items():
        np.testing.assert_allclose(found[name], value, atol=1e-5, err_msg=name)


def test_a_silent_lead_ends_the_others(tmp_path):
    _, (code, text) = launch("silent", tmp_path, awaited=(1,))
    seconds = time.time() - (tmp_path / "struck").stat().st_mtime
    check_lost(code, text)
    assert seconds < 3 * worker.HEARTBEAT


@pytest.fixture
def ended(monkeypatch):
    """The exit codes of a process that would have ended, in place of its end."""
    codes, over = [], threading.Event()

    def leave(code):
        codes.append(code)
        over.set()

    monkeypatch.setattr(joining.os, "_exit", leave)
    monkeypatch.setattr(joining, "_leaving", threading.Event())
    codes_in_time = lambda: over.wait(10) and codes  # noqa: E731
    return codes_in_time


def unreachable(name, timeout_s):
    raise RuntimeError("UNAVAILABLE")


def test_who_does_not_answer_is_lost(ended, capfd):
    go = threading.Event()
    calls = iter([lambda: None, lambda: None, lambda: go.wait(10)])  # answers, answers, is silent

    def meet(name, timeout_s):
        try:
            next(calls)()
        except StopIteration:
            raise RuntimeError("over") from None

    began = time.monotonic()
    thread = threading.Thread(target=joining._watch, args=(meet, 0.2), daemon=True)
    thread.start()
    assert ended() == [cluster.LOST]
    assert time.monotonic() - began > 0.2
    joining._leaving.set()
    go.set()
    thread.join(10)
    assert capfd.readouterr().err.splitlines() == [LOST_LINE]


def test_a_lead_that_cannot_be_reached_is_lost(ended):
    joining._watch(unreachable, 100.0)
    assert ended() == [cluster.LOST]


def test_one_that_leaves_misses_nobody(ended, capfd):
    joining._leaving.set()
    joining._watch(unreachable, 100.0)
    assert capfd.readouterr().err == ""


def test_who_waits_for_other_processes_says_how_to_stay_alone(monkeypatch, capfd):
    """As in a shell of `srun --pty`, or in pods that run jobs of their own."""
    monkeypatch.setattr(joining, "WAITING_S", 0.0)
    monkeypatch.setattr(jax.distributed, "initialize", lambda *_, **__: time.sleep(0.2))
    joining._join(joining.Found("slurm", method="slurm"), 300, 60)
    said = capfd.readouterr().err
    for words in ("found by: slurm", "300 s", "--cluster=off"):
        assert words in said


def test_one_process_needs_no_others(monkeypatch):
    for name in list(os.environ):
        if name.startswith(("SLURM_", "OMPI_", "KUBERNETES_", "JAX_COORDINATOR")):
            monkeypatch.delenv(name)
    assert cluster.initialize() == 1
    assert cluster.initialize("127.0.0.1:1", 1, 0) == 1
    assert cluster.is_lead()
    assert cluster.process_count() == 1
    cluster.barrier("alone", 1)
    assert cluster.from_lead(b"x") == b"x"
    cluster.check_same_everywhere({"a": 1})
    assert cluster.leave(3) == 3
    with pytest.raises(KeyError, match="gone"):
        cluster.on_lead(lambda: worker.refuse(KeyError, "gone"))
    with pytest.raises(ValueError, match="heartbeat_s = 0"):
        cluster.initialize(heartbeat_s=0)
