"""What the tests of sweeps share: a recipe, a short schedule, and a job of any code."""

import sys
from pathlib import Path

from varmixup_jax.launch.plan import Job

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


def job(directory, name, code):
    """A job that runs Python code."""
    words = (sys.executable, "-c", code)
    return Job(name, directory / name, directory / "logs" / f"{name}.log", words, False)
