"""Bad input: every refusal is one line that names the thing, and leaves every file as it was."""

import sys
from pathlib import Path

import pytest
from absl.testing import flagsaver
from hypothesis import HealthCheck, settings
from markupsafe import Markup

from varmixup_jax import main as command
from varmixup_jax.report import page

ROOT = Path(__file__).resolve().parents[2]

settings.register_profile(
    "bad_input",
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
settings.load_profile("bad_input")


@pytest.fixture(autouse=True)
def own_places(tmp_path_factory, monkeypatch):
    """A cache of its own; no prepared data sets from outside."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
    monkeypatch.delenv("TFDS_DATA_DIR", raising=False)


@pytest.fixture
def undrawn(monkeypatch):
    """Reports without their figures: drawing takes seconds, and shows no text anew."""
    monkeypatch.setattr(page, "svg", lambda figure, title: Markup("<svg>{}</svg>").format(title))
    monkeypatch.setattr(page, "key", lambda style: "")


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Runs the command with a work directory of its own; the exit code and the standard error."""
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.delitem(sys.modules, "config_config", raising=False)  # the recipe before
    monkeypatch.setattr(command, "enable", lambda: None)
    monkeypatch.setattr(command.Preemption, "install", lambda self: None)

    def call(*words, workdir=tmp_path / "run"):
        line = ["main", *words, *([] if workdir is None else [f"--workdir={workdir}"])]
        monkeypatch.setattr(sys, "argv", line)
        capsys.readouterr()
        with flagsaver.flagsaver():
            code = command.main()
        printed = capsys.readouterr()
        assert printed.out == ""
        return code, printed.err

    return call
