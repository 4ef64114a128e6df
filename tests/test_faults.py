"""What clusters do to a run. After each fault the same command ends with the bits of the straight run,
or there is a clear stop and nothing is lost.
"""

import contextlib
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
from cli import assert_same, launch, newest, results, start, summary, wait_for

KILLS = 10
pytestmark = pytest.mark.slow


def cpu_seconds(pid):
    """The CPU time that a process has used: how far it is, however busy the machine."""
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def copied(interrupted, place):
    """A copy of an interrupted run, to spoil and to resume."""
    shutil.copytree(interrupted, place)
    return place


def test_kill_minus_nine_at_random_moments(cache, straight, tmp_path):
    """From start-up to the last row: whatever a process was doing, the end is the same."""
    if not Path("/proc/self/stat").exists():
        pytest.skip("this system does not tell another process's CPU time")
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = launch(cache, tmp_path / "again")  # with everything compiled
    assert done.returncode == 0, done.stderr
    assert_same(tmp_path / "again", straight)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    takes = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    workdir = tmp_path / "run"
    moments = random.Random(0)
    kills = 0
    while kills < KILLS:
        process = start(cache, workdir)
        # A restart is shorter than the straight run; a process that ended was not killed.
        moment = moments.uniform(0.25, 0.9) * takes
        while process.poll() is None and cpu_seconds(process.pid) < moment:
            time.sleep(0.005)
        if process.poll() is None:
            process.kill()
            kills += 1
        elif kills < KILLS:
            shutil.rmtree(workdir)
        process.wait()
    done = launch(cache, workdir)
    assert done.returncode == 0, done.stderr
    assert_same(workdir, straight)


def largest(directory):
    return max((p for p in directory.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)


def truncate(directory):
    file = largest(directory)
    os.truncate(file, file.stat().st_size // 2)


def delete(directory):
    largest(directory).unlink()


def flip(directory):
    file = largest(directory)
    data = bytearray(file.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 64] = bytes(255 - byte for byte in data[middle : middle + 64])
    file.write_bytes(bytes(data))


@pytest.mark.parametrize("damage", [truncate, delete, flip])
def test_a_damaged_checkpoint_gives_way_to_the_one_before(
    damage, cache, straight, preempted, tmp_path
):
    workdir = copied(preempted[0], tmp_path / "run")
    damaged = newest(workdir)
    damage(damaged)
    done = launch(cache, workdir)
    assert done.returncode == 0, done.stderr
    before = [line for line in done.stderr.splitlines() if "cannot be read" in line]
    assert before, done.stderr
    assert str(damaged) in before[0]
    assert "using" in before[0]
    assert_same(workdir, straight)


def test_the_second_of_two_runs_in_one_directory_refuses(cache, straight, preempted, tmp_path):
    workdir = copied(preempted[0], tmp_path / "run")
    first = start(cache, workdir)
    try:
        assert wait_for(lambda: "resuming" in (tmp_path / "run.output").read_text(), first)
        os.kill(first.pid, signal.SIGSTOP)
        second = launch(cache, workdir)
        assert second.returncode == 2
        assert "another run is using it" in second.stderr
    finally:
        os.kill(first.pid, signal.SIGCONT)
        assert first.wait(timeout=200) == 0
    assert_same(workdir, straight)


def test_another_number_of_devices_resumes_with_a_note(cache, straight, preempted, tmp_path):
    workdir = copied(preempted[0], tmp_path / "run")
    done = launch(cache, workdir, devices=2)
    assert done.returncode == 0, done.stderr
    note = [line for line in done.stderr.splitlines() if "bit" in line]
    assert note, done.stderr
    assert "1 x cpu" in note[0]
    assert "2 x cpu" in note[0]
    ours, theirs = results(workdir), results(straight)
    accuracy = [next(r["value"] for r in x if r["metric"] == "accuracy") for x in (ours, theirs)]
    assert abs(accuracy[0] - accuracy[1]) < 0.05


def test_a_loss_that_is_not_finite_stops_with_step_and_leaf(cache, tmp_path):
    words = ("--config.optim.learning_rate=1e30", "--config.optim.schedule=constant")
    failed = launch(cache, tmp_path / "run", *words, recipe="digits.py:erm")
    assert failed.returncode == 3, failed.stderr
    found = summary(tmp_path / "run")
    assert found["status"] == "failed"
    pattern = r"step [1-9]: (loss|grad_norm) = (nan|inf), first in the gradient of \[\'\w+"
    assert re.search(pattern, found["error"])
    assert re.search(pattern, failed.stderr)


def test_nan_among_the_latents_stops_at_the_first_step(cache, straight, tmp_path):
    """What a VAE stored by a broken machine would do."""
    store = tmp_path / "store"
    vae = cache / "varmixup_jax" / "vae" / summary(straight)["vae"]["key"]
    shutil.copytree(vae, store / vae.name)
    latents = np.load(store / vae.name / "latents.npy")
    latents[:] = np.nan
    np.save(store / vae.name / "latents.npy", latents)
    failed = launch(cache, tmp_path / "run", f"--config.vae.store={store}")
    assert failed.returncode == 3, failed.stderr
    assert re.match(r"step 1: (loss|grad_norm) = nan", summary(tmp_path / "run")["error"])


@pytest.fixture
def small_disk(tmp_path):
    """A file system of its own, `resize(megabytes)` to change it."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip("a small file system can be mounted by root only")
    try:
        yield (
            place,
            lambda size: subprocess.run(
                ["mount", "-o", f"remount,size={size}m", str(place)], check=True
            ),
        )
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def fill(path):
    """Writes a file until the disk is full."""
    with path.open("wb", buffering=0) as ballast, contextlib.suppress(OSError):
        while True:
            ballast.write(bytes(65536))


def test_a_full_disk_stops_the_run_and_the_last_checkpoint_restores(
    cache, straight, preempted, small_disk
):
    place, resize = small_disk
    resize(64)
    workdir = copied(preempted[0], place / "run")
    kept = newest(workdir)
    fill(place / "ballast")
    failed = launch(cache, workdir)
    assert failed.returncode == 4, failed.stderr
    errors = [line for line in failed.stderr.splitlines() if line.startswith("error:")]
    assert len(errors) == 1, failed.stderr
    assert "No space left" in errors[0]
    assert "Traceback" not in failed.stderr
    assert kept.is_dir()
    (place / "ballast").unlink()
    done = launch(cache, workdir)
    assert done.returncode == 0, done.stderr
    assert_same(workdir, straight)
