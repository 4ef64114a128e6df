"""Bad input: every refusal is one line that names the thing, and leaves every file as it was."""

import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from markupsafe import Markup
from refusing import command_refused

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
def root(tmp_path):
    """What a table damages, unless the file has its own."""
    return tmp_path


@pytest.fixture
def refuses(tmp_path, monkeypatch):
    """A command with these words is refused by these names, in a directory of the test's own."""
    monkeypatch.chdir(tmp_path)

    def check(main, words, *names):
        command_refused(main, words, *names, untouched=[tmp_path])

    return check


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Runs `python -m varmixup_jax.main` with a work directory of its own: the exit code."""
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.setattr(command.compilation, "configure", lambda **_: None)
    monkeypatch.setattr(command.PREEMPTION, "install", lambda: None)

    def call(words):
        return command.main([f"--workdir={tmp_path / 'run'}", *words])

    return call


@pytest.fixture
def refuses_run(run, tmp_path):
    """A run with these words is refused with these names, and nothing is written."""

    def check(words, *names):
        said = command_refused(run, words, *names, untouched=[tmp_path])
        assert said.startswith("error: ")

    return check
