"""Jobs of any code on this machine: how many at a time, stopped, killed, heard of, and their GPUs."""

import os
import time
from types import SimpleNamespace

import pytest
from stand_ins import executable
from sweeps import RECIPE, ROOT, job

from varmixup_jax.launch import devices, on_local, sweep
from varmixup_jax.launch.plan import Sweep


@pytest.fixture(autouse=True)
def _in_a_clone(monkeypatch):
    monkeypatch.chdir(ROOT)


def test_no_more_runs_at_a_time_than_asked_for(tmp_path):
    code = "import time; print(time.monotonic()); time.sleep(0.5); print(time.monotonic())"
    jobs = [job(tmp_path, str(n), code) for n in range(4)]
    said = []
    outcome = on_local.run(jobs, 2, said.append)
    assert outcome == on_local.Outcome(dict.fromkeys("0123", 0), "")
    times = [[float(line) for line in j.log.read_text().split()] for j in jobs]
    for begin, _ in times:
        assert sum(b <= begin < e for b, e in times) <= 2
    assert [line.split(":")[0] for line in said if ": started" in line] == list("0123")


def test_a_signal_is_passed_on_and_nothing_new_begins(tmp_path):
    code = """
import os, signal, sys, time
def save(*_):
    print("saved")
    sys.exit(143)
signal.signal(signal.SIGTERM, save)
os.kill(os.getppid(), signal.SIGTERM)
time.sleep(60)
"""
    jobs = [job(tmp_path, "first", code), job(tmp_path, "second", "print('begun')")]
    outcome = on_local.run(jobs, 1, lambda _: None)
    assert outcome == on_local.Outcome({"first": 143}, "a signal")
    assert jobs[0].log.read_text() == "saved\n"
    assert not jobs[1].log.exists()


SAVES = """
import signal, sys, time
def save(*_):
    print("saved", flush=True)
    sys.exit(143)
signal.signal(signal.SIGTERM, save)
print("ready", flush=True)
time.sleep(60)
"""
STAYS = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("ready", flush=True)
time.sleep(60)
"""


def started(tmp_path, monkeypatch, capsys, jobs, *words):
    """Exit code and printed lines of a sweep of these jobs."""
    monkeypatch.setattr(sweep, "plan", lambda *_: Sweep(tuple(jobs), None, tmp_path))
    code = sweep.main([f"--config={RECIPE}", f"--workdir={tmp_path}", *words])
    return code, capsys.readouterr().out.splitlines()


def test_the_budget_stops_what_runs_and_says_what_to_repeat(tmp_path, monkeypatch, capsys):
    jobs = [job(tmp_path, *pair) for pair in zip("abc", (SAVES, STAYS, ""), strict=True)]

    def clock():
        """The budget is over once both are ready, the time to save once the first has saved."""
        printed = [j.log.read_text() if j.log.exists() else "" for j in jobs]
        ready = all("ready" in text for text in printed[:2])
        return time.monotonic() + 1000.0 * ready + 1000.0 * ("saved" in printed[0])

    monkeypatch.setattr(on_local, "time", SimpleNamespace(monotonic=clock, sleep=time.sleep))
    code, lines = started(tmp_path, monkeypatch, capsys, jobs, "--parallel=2", "--budget=500")
    assert code == 143
    assert "a: asked to stop, by the budget of 500 s" in lines
    at = lines.index("stopped by the budget of 500 s")
    words = "--parallel=2 --budget=500"
    command = f"varmixup sweep --config={RECIPE} --workdir={tmp_path} {words}"
    assert lines[at + 1 :] == [
        "a: stopped; it resumes",
        f"b: killed by SIGKILL; the end of {jobs[1].log}:",
        "    ready",
        "c: not begun",
        "0 of 3 runs done",
        f"to do the rest, run the same command: {command}",
    ]
    assert not jobs[2].log.exists()


def test_a_killed_run_is_named_and_the_others_go_on(tmp_path, monkeypatch, capsys):
    jobs = [job(tmp_path, "a", "import os; os.kill(os.getpid(), 9)"), job(tmp_path, "b", "1 / 0")]
    code, lines = started(tmp_path, monkeypatch, capsys, jobs)
    assert code == 1
    at = lines.index(f"a: killed by SIGKILL; the end of {jobs[0].log}:")
    assert lines[at + 1] == "    (nothing was printed)"
    assert lines[at + 2] == f"b: failed; the end of {jobs[1].log}:"
    assert lines[-2:] == ["    ZeroDivisionError: division by zero", "0 of 2 runs done"]


def test_each_run_is_heard_of_every_ten_seconds(tmp_path, monkeypatch):
    code = "import time; time.sleep(%g); print('loss 2', flush=True); time.sleep(%g)"
    silent, speaks = job(tmp_path, "a", code % (0.5, 0)), job(tmp_path, "b", code % (0, 1))
    now, real, said = iter(range(10_000)), time.sleep, []
    clock = SimpleNamespace(monotonic=lambda: float(next(now)), sleep=lambda _: real(0.02))
    monkeypatch.setattr(on_local, "time", clock)
    on_local.run([silent, speaks], 1, said.append)
    assert said[1:3] == ["a (9 s): nothing printed yet", "a (19 s): nothing printed yet"]
    assert said[-2].startswith("b (")
    assert said[-2].endswith(" s): loss 2")


def test_runs_at_a_time_share_out_the_gpus(tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5,7")
    for name in devices.MEMORY_SETTINGS:
        monkeypatch.delenv(name, raising=False)
    code = "import os; print(os.environ['CUDA_VISIBLE_DEVICES'], os.environ.get('%s'))"
    jobs = [
        job(tmp_path, str(n), f"{code % devices.FRACTION}; import time; time.sleep(1)")
        for n in range(4)
    ]

    def seen(parallel):
        on_local.run(jobs[:parallel], parallel, lambda _: None)
        return [j.log.read_text().strip() for j in jobs[:parallel]]

    assert seen(2) == ["4,7 None", "5 None"]
    # The first of three GPUs has two of four runs.
    assert seen(4) == ["4 0.450", "5 None", "7 None", "4 0.450"]


@pytest.mark.parametrize("name", devices.MEMORY_SETTINGS)
def test_the_users_own_memory_settings_stay(name):
    assert devices.share(0, 2, ["0"], {name: "false"}) == {"CUDA_VISIBLE_DEVICES": "0"}
    assert devices.FRACTION in devices.share(0, 2, ["0"], {name: ""})


def test_gpus_are_counted(tmp_path, monkeypatch):
    executable(tmp_path / "nvidia-smi", "#!/bin/sh\necho 'GPU 0: A (UUID: x)'\necho 'GPU 1: A'\n")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("JAX_PLATFORMS", "")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert devices.visible_gpus() == ["0", "1"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    assert devices.visible_gpus() == []
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    assert devices.visible_gpus() == []
