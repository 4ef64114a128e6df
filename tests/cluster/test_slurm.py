"""`launch/` on a real SLURM of two nodes on this machine.

    VARMIXUP_SLURM=1 pytest -n0 tests/cluster

Needs root and Debian's packages, which it installs. Two to three minutes on two cores.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
import slurm
from cli import results, steps_taken, summary, wait_for

ROOT = Path(__file__).resolve().parents[2]
WORDS = (
    "--config=configs/digits.py:varmixup",
    "--config.epochs=100",
    "--config.model.width=4",
    "--config.data.limit=320",
    "--config.eval.every_epochs=25",
    "--config.eval.corruptions=none",
    "--config.eval.attack_examples=0",
    "--config.eval.linearity_examples=0",
    "--config.vae.epochs=2",
    "--config.vae.width=4",
    "--config.vae.latent_size=4",
    "--config.vae.blocks=0",
)
STEPS = 100 * 5 - 100 * 5 // 10  # 320 images less the validation split, 64 a step
ONE_CPU_EACH = ("--gpus-per-node=0", "--cpus-per-task=1", "--time=10")


@pytest.fixture(scope="module")
def environment():
    """What a client of the cluster has in its environment."""
    if os.environ.get("VARMIXUP_SLURM") != "1":
        pytest.skip("starts a SLURM cluster: run with VARMIXUP_SLURM=1, as root")
    state = Path(tempfile.mkdtemp(prefix="slurm-"))
    try:
        slurm.install()
        with slurm.cluster(state) as client:
            words = {"PYTHON": sys.executable, "JAX_PLATFORMS": "cpu"}
            words |= {"XDG_CACHE_HOME": str(state / "cache"), "JAX_NUM_CPU_DEVICES": "1"}
            yield {**os.environ, **client, **words}
    except slurm.Unavailable as error:
        pytest.skip(f"no SLURM here: {error}")
    finally:
        shutil.rmtree(state, ignore_errors=True)


def call(environment, *words, timeout=240):
    done = subprocess.run(
        words, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=timeout
    )
    assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
    return done.stdout.strip()


def submit(environment, workdir, nodes=2):
    """Submits the script as its head says; returns the job's number and its log."""
    log = workdir.with_suffix(".log")
    options = (f"--nodes={nodes}", "--ntasks-per-node=1", *ONE_CPU_EACH, f"--output={log}")
    line = ("sbatch", "--parsable", *options, "launch/slurm.sbatch", *WORDS)
    return call(environment, *line, f"--workdir={workdir}"), log


def wait_for_end(environment, number, log, seconds=200):
    """Waits until a job left the queue for good."""
    deadline = time.monotonic() + seconds
    while call(environment, "squeue", "-h", "--me", "--format=%i", f"--jobs={number}"):
        assert time.monotonic() < deadline, story(environment, number, log)
        time.sleep(0.5)


def state_of(environment, number):
    return call(environment, "squeue", "-h", "--states=all", "--format=%T", f"--jobs={number}")


def story(environment, number, log):
    """What a failed test shows: the job's log, its state, and the end of the controller's log."""
    state = Path(environment["SLURM_CONF"]).parent
    shown = subprocess.run(
        ["scontrol", "show", "job", number], env=environment, capture_output=True, text=True
    )
    ends = [path.read_text()[-6000:] for path in sorted(state.glob("*.log"))]
    return "\n".join([log.read_text(), shown.stdout + shown.stderr, *ends])


def wait_for_start(environment, number, log, restart):
    """Waits until a job that was queued again has started."""
    started = f"start {restart}: "
    assert wait_for(lambda: started in log.read_text(), seconds=100), story(
        environment, number, log
    )


@pytest.fixture(scope="module")
def straight(environment, tmp_path_factory):
    """A job of two tasks on two nodes."""
    workdir = tmp_path_factory.mktemp("slurm") / "straight"
    number, log = submit(environment, workdir)
    wait_for_end(environment, number, log)
    assert (workdir / "summary.json").exists(), story(environment, number, log)
    return workdir, log


def test_a_job_says_what_it_runs(straight):
    workdir, log = straight
    text = log.read_text()
    assert summary(workdir)["status"] == "done", text
    assert "start 0: 2 tasks on n[1-2]" in text
    assert "+ srun --kill-on-bad-exit=1" in text
    assert f"-m varmixup_jax.main {' '.join(WORDS)} --workdir={workdir}" in text


def test_two_tasks_compute_what_one_process_of_two_devices_does(straight, environment, tmp_path):
    workdir, _ = straight
    alone = tmp_path / "alone"
    one = {**environment, "JAX_NUM_CPU_DEVICES": "2", "XDG_CACHE_HOME": str(tmp_path / "cache")}
    call(one, sys.executable, "-m", "varmixup_jax.main", *WORDS, f"--workdir={alone}")
    assert summary(workdir)["device"] == summary(alone)["device"] == "2 x cpu (cpu)"
    mine, theirs = results(workdir), results(alone)
    for row, other in zip(mine, theirs, strict=True):
        assert row == {**other, "value": pytest.approx(other["value"], rel=1e-3, abs=1e-4)}
    assert summary(workdir)["params_sha256"] == summary(alone)["params_sha256"]


def test_an_interrupted_job_queues_again_and_ends_as_the_straight_one(
    straight, environment, tmp_path
):
    """First SIGTERM to the tasks, as before the time limit; then a requeue, as by preemption."""
    workdir = tmp_path / "interrupted"
    number, log = submit(environment, workdir)
    assert wait_for(lambda: steps_taken(workdir) >= STEPS // 5), story(environment, number, log)
    call(environment, "scancel", "--signal=TERM", number)
    wait_for_start(environment, number, log, 1)
    assert f"job {number}: state saved, queueing again" in log.read_text()
    assert wait_for(lambda: steps_taken(workdir) >= STEPS // 2), story(environment, number, log)
    call(environment, "scontrol", "requeue", number)
    wait_for_start(environment, number, log, 2)
    wait_for_end(environment, number, log)
    text = log.read_text()
    assert [f"start {n}:" in text for n in range(4)] == [True, True, True, False], text
    assert text.count("resuming at step") >= 2
    assert summary(workdir)["params_sha256"] == summary(straight[0])["params_sha256"]
    assert results(workdir) == results(straight[0])


def test_a_cancelled_job_does_not_come_back(environment, tmp_path):
    workdir = tmp_path / "cancelled"
    number, log = submit(environment, workdir, nodes=1)
    assert wait_for(lambda: steps_taken(workdir) > 0), story(environment, number, log)
    call(environment, "scancel", number)
    wait_for_end(environment, number, log)
    assert state_of(environment, number) == "CANCELLED"
    assert summary(workdir)["status"] == "running"


def test_a_sweep_runs_as_a_job_array(environment, tmp_path):
    pytest.importorskip("submitit")
    words = [w for w in WORDS if "epochs" not in w] + ["--config.epochs=2", "--config.vae.epochs=1"]
    line = [sys.executable, "-m", "launch.sweep", *words, f"--workdir={tmp_path}", "--on=slurm"]
    line += ["--methods=erm", "--seeds=0,1", "--parallel=2", "--gpus=0", "--cpus=1", "--time=10"]
    shown = call(environment, *line)
    assert "2 of 2 runs done" in shown
    assert "| erm | 2 |" in shown
    ids = json.loads((tmp_path / "logs" / "jobs.json").read_text())
    assert {name: number.split("_")[1] for name, number in ids.items()} == {
        "erm-s0": "0",
        "erm-s1": "1",
    }
    for name in ids:
        assert summary(tmp_path / name)["device"] == "1 x cpu (cpu)"
