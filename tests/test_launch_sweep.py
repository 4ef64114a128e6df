"""Sweeps of one process per run, on this machine and what SLURM needs."""

import contextlib
import fcntl
import io
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import numpy as np
import pytest
from stand_ins import executable

from varmixup_jax.launch import devices, on_local, sweep
from varmixup_jax.launch.plan import Job, Sweep, plan
from varmixup_jax.launch.plan import _config as plan_config
from varmixup_jax.runs import run_directory

ROOT = Path(__file__).resolve().parents[1]
RECIPE = "configs/digits.py:varmixup"
TINY = (
    "--config.epochs=1",
    "--config.model.width=4",
    "--config.data.limit=128",
    "--config.eval.corruptions=none",
    "--config.eval.attack_examples=0",
    "--config.eval.linearity_examples=0",
)


@pytest.fixture(autouse=True)
def _in_a_clone(monkeypatch):
    monkeypatch.chdir(ROOT)


# A sweep's plan.


def test_runs_are_laid_out_as_main_does(tmp_path):
    made = plan(RECIPE, "erm,varmixup", "3,0", tmp_path, TINY)
    assert [job.name for job in made.jobs] == ["erm-s3", "varmixup-s3", "erm-s0", "varmixup-s0"]
    assert [job.place for job in made.jobs] == [tmp_path / job.name for job in made.jobs]
    assert made.baseline is made.jobs[0]
    assert made.jobs[1].words[3:] == (
        f"--config={RECIPE}",
        *TINY,
        "--config.method=varmixup",
        "--config.seeds=(3,)",
        f"--workdir={tmp_path / 'varmixup-s3'}",
    )
    assert not any(job.done for job in made.jobs)
    assert not list(tmp_path.iterdir())


def test_methods_and_seeds_default_to_the_recipes(tmp_path):
    made = plan("configs/digits.py:mixup,at", "", "", tmp_path)
    assert [job.name for job in made.jobs] == ["mixup-s0", "at-s0"]
    assert made.baseline is None


def test_named_runs_have_fields_of_their_own(tmp_path):
    narrow = "narrow varmixup vae.width=4 epochs=2"
    made = plan(RECIPE, "varmixup", "0,1", tmp_path, TINY, "narrow", ["plain erm", narrow])
    assert [job.name for job in made.jobs] == [
        *("varmixup-s0", "plain-s0", "narrow-s0"),
        *("varmixup-s1", "plain-s1", "narrow-s1"),
    ]
    assert made.baseline is made.jobs[2]
    fields = "--config.vae.width=4", "--config.epochs=2"
    assert made.jobs[5].words[3:] == (
        *(f"--config={RECIPE}", *TINY, *fields),
        *("--config.method=varmixup", "--config.seeds=(1,)", f"--workdir={tmp_path / 'narrow-s1'}"),
    )
    alone = plan(RECIPE, "", "", tmp_path, TINY, None, [narrow])
    assert [job.name for job in alone.jobs] == ["narrow-s0"]


def test_a_named_run_is_compared_with_what_its_directory_holds(tmp_path):
    config = plan_config(RECIPE, [*TINY, "--config.epochs=2"], "")
    fields = run_directory.run_config(config, "erm", 0)
    (tmp_path / "long-s0").mkdir()
    (tmp_path / "long-s0" / "config.json").write_text(json.dumps(fields))
    plan(RECIPE, "", "", tmp_path, TINY, None, ["long erm epochs=2"])  # over the epochs of TINY
    with pytest.raises(ValueError, match=r"epochs = 3.0 \(there: 2.0\)"):
        plan(RECIPE, "", "", tmp_path, TINY, None, ["long erm epochs=3"])


REFUSED = [
    (("--run=half",), "--run = 'half': must be NAME METHOD [FIELD=VALUE ...]"),
    (("--run=a/b erm",), "--run = 'a/b erm': must be NAME METHOD"),
    (("--run=x erm,mixup",), "must name one method"),
    (("--run=x ermm",), "did you mean erm"),
    (("--run=x erm epochs",), "'--config.epochs': not understood"),
    (("--run=x erm epoch=2",), "config.epoch: no such field (did you mean epochs"),
    (("--run=x erm seeds=3",), "must be given as --seeds"),
    (("--run=x erm", "--run=x mixup"), "--run = 'x': must be distinct"),
    (("--methods=erm", "--run=erm erm epochs=2"), "--run = 'erm': must be distinct"),
    (("--run=x erm", "--baseline=erm"), "--baseline = 'erm': must be one of x"),
    (("--methods=ermm",), "did you mean erm"),
    (("--seeds=a",), "--seeds = 'a': must be whole numbers"),
    (("--seeds=1,1",), "must be distinct"),
    (("--seeds=-1",), "must be whole numbers >= 0"),
    (("--parallel=0",), "--parallel = 0: must be a whole number >= 1"),
    (("--budget=0",), "--budget = 0.0: must be > 0"),
    (("--budget=soon",), "'soon'"),
    (("--budget=60", "--on=slurm"), "--budget = 60: is for --on=local"),
    (("--on=moon",), "'moon'"),
    (("--gpus=-1",), "--gpus = -1"),
    (("--sbatch=account",), "must be NAME=VALUE"),
    (("--config.epoch=3",), "config.epoch: no such field (did you mean epochs"),
    (("--config.epochs=0",), "config.epochs = 0.0: must be > 0"),
    (("--config.seeds=3",), "must be given as --seeds"),
    (("--config.method=erm",), "must be given as --methods"),
    (("--config.epochs", "3"), "'--config.epochs': not understood"),
    (("--baseline=mixup",), "--baseline = 'mixup': must be one of varmixup"),
    (("stray",), "'stray': not understood"),
    (("--config=configs/digitz.py",), "configs/digitz.py"),
]


@pytest.mark.parametrize(("words", "message"), REFUSED, ids=[" ".join(w) for w, _ in REFUSED])
def test_bad_words_are_refused_in_one_line(words, message, tmp_path, capsys):
    arguments = [f"--config={RECIPE}", f"--workdir={tmp_path / 'runs'}", *words]
    assert sweep.main(arguments) == 2
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 1
    assert errors[0].startswith("error: ")
    assert message in errors[0]
    assert not (tmp_path / "runs").exists()


def test_a_directory_with_another_configuration_is_refused(tmp_path, capsys):
    place = tmp_path / "erm-s0"
    place.mkdir()
    (place / "config.json").write_text(json.dumps({"epochs": 3.0}))
    arguments = [f"--config={RECIPE}", "--methods=erm", f"--workdir={tmp_path}"]
    assert sweep.main(arguments) == 2
    assert "another configuration: " in capsys.readouterr().err


# A sweep on this machine.


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """A sweep, two at a time, of three runs of which one cannot begin; the same once it can."""
    workdir = tmp_path_factory.mktemp("sweep")
    environment = {"JAX_PLATFORMS": "cpu", "XDG_CACHE_HOME": str(workdir / "cache")}

    def start(*words, place=workdir):
        """The sweep in this process; its runs have processes of their own."""
        shown, errors = io.StringIO(), io.StringIO()
        with (
            contextlib.chdir(ROOT),
            contextlib.redirect_stdout(shown),
            contextlib.redirect_stderr(errors),
            mock.patch.dict(os.environ, environment),
        ):
            code = sweep.main([*words, f"--workdir={place}", *TINY])
        return SimpleNamespace(returncode=code, stdout=shown.getvalue(), stderr=errors.getvalue())

    words = (f"--config={RECIPE}", "--methods=erm", "--seeds=0,1,2")
    (workdir / "erm-s2").mkdir()
    with (workdir / "erm-s2" / ".lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        first = start(*words, "--parallel=2")
    planned = start(*words, "--dry_run")
    second = start(*words)
    line = [sys.executable, "-m", "varmixup_jax.main", f"{words[0]}:erm", "--config.seeds=(0,1,2)"]
    by_main = subprocess.run(
        [*line, f"--workdir={workdir}", *TINY],
        env={**os.environ, **environment},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=240,
    )
    start(*words[:2], "--seeds=0", place=workdir / "alone")
    return workdir, first, planned, second, by_main


def test_a_failed_run_is_reported_with_the_end_of_its_log(swept):
    workdir, first, *_ = swept
    assert first.returncode == 1, first.stderr
    assert "erm-s2: ended with code 2" in first.stdout
    shown = first.stdout.split("erm-s2: failed; the end of ")[1]
    assert f"error: workdir {workdir / 'erm-s2'}: another run is using it" in shown
    assert "2 of 3 runs done" in shown
    assert "| erm | 2 |" in first.stdout


def test_runs_at_a_time_end_with_the_numbers_of_one_alone(swept):
    workdir, first, *_ = swept
    began = first.stdout.index("erm-s1: started")
    assert began < first.stdout.index("erm-s0: ended")
    places = (workdir / "erm-s0", workdir / "alone" / "erm-s0")
    together, alone = (dict(np.load(place / "model.npz")) for place in places)
    assert together.keys() == alone.keys()
    for key, value in alone.items():
        assert together[key].tobytes() == value.tobytes(), key


def test_a_dry_run_prints_what_is_left_to_do(swept):
    workdir, _, planned, *_ = swept
    assert planned.returncode == 0, planned.stderr
    *done, left = planned.stdout.splitlines()
    assert done == ["erm-s0: done before", "erm-s1: done before"]
    assert "-m varmixup_jax.main --config=configs/digits.py" in left
    assert left.endswith(f"--config.method=erm '--config.seeds=(2,)' --workdir={workdir}/erm-s2")


def test_finished_runs_are_skipped_and_the_page_compares_all(swept):
    workdir, _, _, second, _ = swept
    assert second.returncode == 0, second.stdout + second.stderr
    assert "erm-s0: done before" in second.stdout
    assert "erm-s0: started" not in second.stdout
    assert "erm-s2: ended with code 0" in second.stdout
    assert "3 of 3 runs done" in second.stdout
    assert "| erm | 3 |" in (workdir / "report.md").read_text()
    assert (workdir / "report.html").stat().st_size > 10_000
    for name in ("erm-s0", "erm-s2"):
        assert json.loads((workdir / name / "summary.json").read_text())["status"] == "done"


def test_main_goes_on_with_what_a_sweep_began(swept):
    workdir, *_, by_main = swept
    assert by_main.returncode == 0, by_main.stderr
    assert "step" not in by_main.stderr
    found = sorted(p.parent.name for p in workdir.glob("*/summary.json"))
    assert found == ["erm-s0", "erm-s1", "erm-s2"]


def job(tmp_path, name, code):
    words = (sys.executable, "-c", code)
    return Job(name, tmp_path / name, tmp_path / "logs" / f"{name}.log", words, False)


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


# A sweep on SLURM; the real thing is in tests/cluster.


@pytest.mark.parametrize("there", [False, True])
def test_what_slurm_needs_is_named(there, tmp_path, monkeypatch, capsys):
    if there:
        for name in ("sbatch", "squeue"):
            executable(tmp_path / name, "#!/bin/sh\n")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(sys.modules, "submitit", None)
    arguments = [f"--config={RECIPE}", f"--workdir={tmp_path / 'runs'}", "--on=slurm"]
    assert sweep.main(arguments) == 2
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 1
    needed = "pip install 'varmixup_jax[launch]'" if there else "there is no sbatch here"
    assert needed in errors[0]
