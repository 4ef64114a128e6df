"""The commands' XLA flags: a user's stay, and no XLA is given one that it does not know."""

import os
import subprocess
import sys

import jax
import pytest

from varmixup_jax import compilation

GPU = "--xla_gpu_deterministic_ops=true"


@pytest.fixture(autouse=True)
def machine(monkeypatch):
    """Two cores, a version on which the flag was measured, no flags of the user's."""
    monkeypatch.setattr(compilation.os, "sched_getaffinity", lambda pid: {0, 1}, raising=False)
    monkeypatch.setattr(compilation.jax, "__version__", "0.10.2")
    monkeypatch.setenv("XLA_FLAGS", "")


def chosen(**settings):
    compilation.choose_flags(**settings)
    return os.environ["XLA_FLAGS"]


def test_several_cores_share_a_convolution():
    assert chosen() == compilation._EIGEN
    assert chosen() == compilation._EIGEN  # of a child that inherits it


def test_one_core_or_another_version_is_left_alone(monkeypatch):
    monkeypatch.setattr(compilation.os, "sched_getaffinity", lambda pid: {3}, raising=False)
    assert chosen() == ""
    monkeypatch.undo()
    monkeypatch.setenv("XLA_FLAGS", "")
    monkeypatch.setattr(compilation.jax, "__version__", "0.10.1")
    assert chosen() == ""


def test_what_the_user_has_set_stays(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_dump_to=there")
    assert chosen() == "--xla_dump_to=there"
    assert chosen(deterministic=True) == f"--xla_dump_to=there {GPU}"


def test_determinism_is_added():
    assert chosen(deterministic=True) == f"{compilation._EIGEN} {GPU}"


def test_the_installed_xla_knows_the_flag(monkeypatch):
    monkeypatch.undo()
    if jax.__version__ not in compilation._MEASURED:
        pytest.skip(f"not set on jax {jax.__version__}")
    environment = {**os.environ, "XLA_FLAGS": compilation._EIGEN}
    command = [sys.executable, "-c", "import jax; jax.devices()"]
    subprocess.run(command, check=True, env=environment, timeout=120)
