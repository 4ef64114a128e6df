"""Sweeps of one process per run, on this machine and what SLURM needs."""

import fcntl
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from stand_ins import executable

from launch import on_local, sweep
from launch.plan import Job, plan

ROOT = Path(__file__).resolve().parents[1]
RECIPE = "configs/digits.py"
# ml_collections loads recipes so.
pytestmark = pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")
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


REFUSED = [
    (("--methods=ermm",), "did you mean erm"),
    (("--seeds=a",), "--seeds = 'a': must be whole numbers"),
    (("--seeds=1,1",), "must be distinct"),
    (("--seeds=-1",), "must be whole numbers >= 0"),
    (("--jobs=0",), "--jobs = 0: must be a whole number >= 1"),
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


@pytest.mark.parametrize(("words", "message"), REFUSED, ids=[w[0] for w, _ in REFUSED])
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
    """A sweep of two runs of which the second cannot begin, and the same sweep once it can."""
    workdir = tmp_path_factory.mktemp("sweep")
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "XDG_CACHE_HOME": str(workdir / "cache")}
    environment.pop("XLA_FLAGS", None)

    def start(*words, module="launch.sweep"):
        line = [sys.executable, "-m", module, *words, f"--workdir={workdir}", *TINY]
        return subprocess.run(
            line, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=240
        )

    words = (f"--config={RECIPE}", "--methods=erm", "--seeds=0,1")
    (workdir / "erm-s1").mkdir()
    with (workdir / "erm-s1" / ".lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        first = start(*words, "--jobs=2")
    planned = start(*words, "--dry_run")
    second = start(*words)
    by_main = start(f"--config={RECIPE}:erm", "--config.seeds=(0,1)", module="varmixup_jax.main")
    return workdir, first, planned, second, by_main


def test_a_failed_run_is_reported_with_the_end_of_its_log(swept):
    workdir, first, *_ = swept
    assert first.returncode == 1, first.stderr
    assert "erm-s1: ended with code 2" in first.stdout
    shown = first.stdout.split("erm-s1: failed; the end of ")[1]
    assert f"error: workdir {workdir / 'erm-s1'}: another run is using it" in shown
    assert "1 of 2 runs done" in shown
    assert "| erm | 1 |" in first.stdout


def test_a_dry_run_prints_what_is_left_to_do(swept):
    workdir, _, planned, *_ = swept
    assert planned.returncode == 0, planned.stderr
    done, left = planned.stdout.splitlines()
    assert done == "erm-s0: done before"
    assert "-m varmixup_jax.main --config=configs/digits.py" in left
    assert left.endswith(f"--config.method=erm '--config.seeds=(1,)' --workdir={workdir}/erm-s1")


def test_finished_runs_are_skipped_and_the_page_compares_all(swept):
    workdir, _, _, second, _ = swept
    assert second.returncode == 0, second.stdout + second.stderr
    assert "erm-s0: done before" in second.stdout
    assert "erm-s0: started" not in second.stdout
    assert "erm-s1: ended with code 0" in second.stdout
    assert "2 of 2 runs done" in second.stdout
    assert "| erm | 2 |" in (workdir / "report.md").read_text()
    assert (workdir / "report.html").stat().st_size > 10_000
    for name in ("erm-s0", "erm-s1"):
        assert json.loads((workdir / name / "summary.json").read_text())["status"] == "done"


def test_main_goes_on_with_what_a_sweep_began(swept):
    workdir, *_, by_main = swept
    assert by_main.returncode == 0, by_main.stderr
    assert "step" not in by_main.stderr
    assert sorted(p.parent.name for p in workdir.glob("*/summary.json")) == ["erm-s0", "erm-s1"]


def job(tmp_path, name, code):
    words = (sys.executable, "-c", code)
    return Job(name, tmp_path / name, tmp_path / "logs" / f"{name}.log", words, False)


def test_no_more_runs_at_a_time_than_asked_for(tmp_path):
    code = "import time; print(time.monotonic()); time.sleep(0.5); print(time.monotonic())"
    jobs = [job(tmp_path, str(n), code) for n in range(4)]
    said = []
    assert on_local.run(jobs, 2, said.append)
    times = [[float(line) for line in j.log.read_text().split()] for j in jobs]
    for begin, _ in times:
        assert sum(b <= begin < e for b, e in times) <= 2
    assert sum(line.endswith("ended with code 0") for line in said) == 4


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
    said = []
    assert not on_local.run(jobs, 1, said.append)
    assert said[-1] == "first: ended with code 143"
    assert jobs[0].log.read_text() == "saved\n"
    assert not jobs[1].log.exists()


def test_runs_at_a_time_share_out_the_gpus(tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5,7")
    code = "import os, time; print(os.environ['CUDA_VISIBLE_DEVICES']); time.sleep(1)"
    jobs = [job(tmp_path, str(n), code) for n in range(2)]
    assert on_local.run(jobs, 2, lambda _: None)
    assert [j.log.read_text() for j in jobs] == ["4,7\n", "5\n"]
    with pytest.raises(ValueError, match=r"--jobs = 4: must be <= 3, the GPUs there are"):
        on_local.run(jobs, 4, lambda _: None)


def test_gpus_are_counted(tmp_path, monkeypatch):
    executable(tmp_path / "nvidia-smi", "#!/bin/sh\necho 'GPU 0: A (UUID: x)'\necho 'GPU 1: A'\n")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("JAX_PLATFORMS", "")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert on_local.visible_gpus() == ["0", "1"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    assert on_local.visible_gpus() == []
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    assert on_local.visible_gpus() == []


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
