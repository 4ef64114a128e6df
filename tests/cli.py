"""The real command line in processes of its own, on digits with a small schedule."""

import contextlib
import io
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from unittest import mock

ROOT = Path(__file__).resolve().parents[1]
QUICK = (
    "--config.epochs=10",
    "--config.ema_decay=0",
    "--config.model.width=4",
    "--config.data.limit=320",
    "--config.eval.every_epochs=2",
    "--config.eval.corruptions=none",
    "--config.eval.attack_examples=40",
    "--config.eval.attack_steps=2",
    "--config.eval.linearity_examples=40",
    "--config.eval.linearity_steps=2",
    "--config.eval.linearity_eps=(0.03,)",
    "--config.vae.epochs=2",
    "--config.vae.width=4",
    "--config.vae.latent_size=4",
    "--config.vae.blocks=0",
)


def command(cache, workdir, *words, recipe="digits.py:varmixup", quick=QUICK, devices=None):
    """The words of the command and its environment.

    Args:
      cache: of VAEs.
      workdir: of the run.
      *words: further flags.
      recipe: a file under `configs/`, with its argument.
      quick: flags of the schedule.
      devices: fake CPU devices; None for one.
    """
    arguments = [f"--config=configs/{recipe}", f"--workdir={workdir}", *quick, *words]
    environment = {**os.environ, "XDG_CACHE_HOME": str(cache), "JAX_PLATFORMS": "cpu"}
    if devices:
        environment["JAX_NUM_CPU_DEVICES"] = str(devices)
    return [sys.executable, "-m", "varmixup_jax.main", *arguments], environment


def launch(cache, workdir, *words, **options):
    """Runs the command to its end."""
    line, environment = command(cache, workdir, *words, **options)
    return subprocess.run(
        line, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
    )


def launch_sweep(cache, workdir, *words):
    """A sweep from this process, whose runs have processes of their own: exit code and output."""
    from varmixup_jax.launch import sweep  # all of the package, which few tests need

    shown = io.StringIO()
    with (
        contextlib.chdir(ROOT),
        contextlib.redirect_stdout(shown),
        mock.patch.dict(os.environ, {"XDG_CACHE_HOME": str(cache), "JAX_PLATFORMS": "cpu"}),
    ):
        recipe = ("--config=configs/digits.py", "--methods=varmixup")
        code = sweep.main([*recipe, f"--workdir={workdir}", *QUICK, *words])
    return code, shown.getvalue()


def start(cache, workdir, *words, **options):
    """Starts the command; its output goes to `.output` beside `workdir`."""
    line, environment = command(cache, workdir, *words, **options)
    with Path(f"{workdir}.output").open("a", encoding="utf-8") as output:
        return subprocess.Popen(line, env=environment, cwd=ROOT, stdout=output, stderr=output)


def wait_for(condition, process=None, seconds=240):
    """Waits until `condition()` holds, or the process has ended; returns whether it holds."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        if process is not None and process.poll() is not None:
            return condition()
        time.sleep(0.01)
    return False


def steps_taken(workdir):
    """The last step that `metrics.jsonl` tells of, 0 without one."""
    log = Path(workdir) / "metrics.jsonl"
    if not log.exists():
        return 0
    lines = [line for line in log.read_text().splitlines() if line.endswith("}")]
    return max((json.loads(line)["step"] for line in lines), default=0)


def summary(workdir):
    return json.loads((workdir / "summary.json").read_text())


def results(workdir):
    return [json.loads(line) for line in (workdir / "results.jsonl").read_text().splitlines()]


def assert_same(workdir, straight):
    """The same final parameters and rows, to the bit."""
    assert summary(workdir)["params_sha256"] == summary(straight)["params_sha256"]
    assert results(workdir) == results(straight)


def newest(workdir):
    """The newest checkpoint of a run."""
    return max(
        (path for path in (workdir / "checkpoints").iterdir() if path.name.isdigit()),
        key=lambda path: int(path.name),
    )
