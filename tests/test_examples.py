"""The examples run and learn, and the method of CONTRIBUTING.md trains."""

import importlib.util
import math
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from varmixup_jax.methods import METHODS, build
from varmixup_jax.types import Draw
from varmixup_jax.vicinal.objective import Frozen, empirical_risk

ROOT = Path(__file__).resolve().parents[1]


def loaded(name):
    """The module of an example."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "examples" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def users_jax():
    """Promotion as JAX has it by default: optax's schedules and other libraries need it."""
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


@pytest.mark.parametrize(
    "name", [pytest.param("evaluate_torch", marks=pytest.mark.slow), "evaluate_sklearn"]
)
def test_models_of_other_frameworks_are_evaluated(name, tmp_path, monkeypatch):
    if name == "evaluate_torch":
        pytest.importorskip("torch")
    module = loaded(name)
    monkeypatch.setattr(module, "EPOCHS", 8, raising=False)
    results = module.main(str(tmp_path / "run"), corruptions=["brightness"])
    accuracy = {r["corruption"]: r["value"] for r in results.rows if r["metric"] == "accuracy"}
    assert accuracy["none"] > 0.85
    assert "brightness (5)" in str(results)
    assert (tmp_path / "run" / "results.jsonl").exists()


@pytest.mark.slow
def test_own_loop_learns_with_every_method(capsys, users_jax):
    try:
        accuracy = loaded("own_loop").main(epochs=8)
    finally:
        METHODS.pop("noisy_varmixup", None)
    assert set(accuracy) == {"erm", "varmixup", "noisy_varmixup"}
    assert min(accuracy.values()) > 0.85
    assert "noisy_varmixup" in capsys.readouterr().out
    with pytest.raises(KeyError):
        METHODS["noisy_varmixup"]


@pytest.mark.parametrize(
    "library", ["nnx", *(pytest.param(n, marks=pytest.mark.slow) for n in ("linen", "equinox"))]
)
def test_a_loop_of_another_library_learns_from_attacks(library, users_jax):
    if library == "equinox":
        pytest.importorskip("equinox", reason="equinox is not installed")
    assert loaded(f"{library}_loop").main(epochs=3) > 0.8


def test_the_method_of_contributing_trains(key):
    text = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", text, re.S)
    try:
        exec(code, {})
        terms = build("jitter", sigma=0.2)
    finally:
        METHODS.pop("jitter", None)
    image, label = jax.random.uniform(key, (8, 4, 4, 1)), jax.nn.one_hot(jnp.arange(8) % 2, 2)

    def apply(params, stats, image, *, train, tap):
        return tap(0, image).reshape(8, -1) @ params, stats

    risk, frozen = empirical_risk(terms, apply), Frozen()

    def loss(params, step):
        return risk(params, {}, jax.random.fold_in(key, step), Draw(image, label), frozen).loss

    start, step = jnp.zeros((16, 2)), jax.jit(jax.value_and_grad(loss))
    value, slope = step(start, 1)
    assert float(value) == pytest.approx(math.log(2))
    assert float(step(start - 0.1 * slope, 3)[0]) < math.log(2)
