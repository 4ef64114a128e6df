"""A sweep on this machine, each run in a process of its own."""

import contextlib
import fcntl
import io
import json
import os
import shutil
import subprocess
import sys
from types import SimpleNamespace
from unittest import mock

import numpy as np
import pytest
from sweeps import RECIPE, ROOT, TINY

from varmixup_jax.launch import sweep


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """A sweep of two runs, one of which cannot begin; the same once it can; and `main` elsewhere."""
    workdir = tmp_path_factory.mktemp("sweep")
    environment = {"JAX_PLATFORMS": "cpu", "XDG_CACHE_HOME": str(workdir / "cache")}
    words = (f"--config={RECIPE}", "--methods=erm", "--seeds=0,1", f"--workdir={workdir}", *TINY)

    def start(*more):
        """The sweep in this process; its runs have processes of their own."""
        shown, errors = io.StringIO(), io.StringIO()
        with (
            contextlib.chdir(ROOT),
            contextlib.redirect_stdout(shown),
            contextlib.redirect_stderr(errors),
            mock.patch.dict(os.environ, environment),
        ):
            code = sweep.main([*words, *more])
        return SimpleNamespace(returncode=code, stdout=shown.getvalue(), stderr=errors.getvalue())

    (workdir / "erm-s1").mkdir()
    with (workdir / "erm-s1" / ".lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        first = start("--parallel=2")
    planned = start("--dry_run")
    second = start()
    shutil.copytree(workdir / "erm-s1", workdir / "main" / "erm-s1")
    line = [sys.executable, "-m", "varmixup_jax.main", "--config=configs/digits.py:erm"]
    by_main = subprocess.run(
        [*line, "--config.seeds=(0,1)", f"--workdir={workdir / 'main'}", *TINY],
        env={**os.environ, **environment},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=240,
    )
    return workdir, first, planned, second, by_main


def test_a_failed_run_is_reported_with_the_end_of_its_log(swept):
    workdir, first, *_ = swept
    assert first.returncode == 1, first.stderr
    assert "erm-s1: ended with code 2" in first.stdout
    shown = first.stdout.split("erm-s1: failed; the end of ")[1]
    assert f"error: workdir {workdir / 'erm-s1'}: another run is using it" in shown
    assert "1 of 2 runs done" in shown
    assert "| erm |" in first.stdout
    assert first.stdout.index("erm-s1: started") < first.stdout.index("erm-s0: ended")


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


def test_main_goes_on_with_what_a_sweep_began_to_the_same_numbers(swept):
    workdir, *_, by_main = swept
    assert by_main.returncode == 0, by_main.stderr
    trained = [workdir / place / "erm-s1" / "model.npz" for place in (".", "main")]
    assert trained[0].stat().st_mtime_ns == trained[1].stat().st_mtime_ns  # not trained again
    places = [workdir / place / "erm-s0" / "model.npz" for place in (".", "main")]
    by_sweep, alone = (dict(np.load(place)) for place in places)
    assert by_sweep.keys() == alone.keys()
    for key, value in alone.items():
        assert by_sweep[key].tobytes() == value.tobytes(), key
