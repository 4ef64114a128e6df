"""The examples run and learn."""

import importlib.util
from pathlib import Path

import jax
import pytest

from varmixup_jax.vicinal.methods import METHODS

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "own_loop.py"


def test_own_loop_learns_with_every_method(capsys):
    spec = importlib.util.spec_from_file_location("own_loop", EXAMPLE)
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        with jax.numpy_dtype_promotion("standard"):  # optax's cosine schedule needs it
            accuracy = module.main(epochs=8)
    finally:
        METHODS.pop("noisy_varmixup", None)
    assert set(accuracy) == {"erm", "varmixup", "noisy_varmixup"}
    assert min(accuracy.values()) > 0.85
    assert "noisy_varmixup" in capsys.readouterr().out
    with pytest.raises(KeyError):
        METHODS["noisy_varmixup"]
