"""The examples run and learn, and what the README shows of the pieces runs as printed."""

import importlib.util
import math
import re
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from varmixup_jax.losses import ce
from varmixup_jax.methods import METHODS, build
from varmixup_jax.types import Draw
from varmixup_jax.vicinal.objective import Frozen, empirical_risk

ROOT = Path(__file__).resolve().parents[1]
EXAMPLE = ROOT / "examples" / "own_loop.py"


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


def test_the_reuse_snippet_of_the_readme(key):
    code, *_ = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.S)
    image, label = jax.random.uniform(key, (4, 2, 2, 1)), jnp.eye(4)
    names = {  # what the snippet leaves to its reader
        "my_logits": lambda image: image.reshape(len(image), -1),
        "my_encoder_mean": lambda image: 2.0 * image,
        "my_decoder": lambda latent: latent / 2.0,
        "add_noise": lambda key, env, draw, *, sigma: draw._replace(image=draw.image + sigma),
        "key": jax.random.key(1),
        "image": image,
        "label": label,
        "ce": ce,
        "partial": partial,
    }
    try:
        with jax.debug_key_reuse(False):  # it shows two samples, each by the same key
            exec(code, names)
        (term,) = build("noisy", sigma=0.5)
    finally:
        METHODS.pop("noisy", None)
    sample = names["sample"]
    assert sample.image.shape == image.shape
    assert bool(jnp.allclose(sample.label.sum(axis=1), 1.0))
    assert bool((sample.image >= 0).all() & (sample.image <= 1).all())
    noisy = term.vicinity(key, names["env"], Draw(image, label))
    assert bool(jnp.allclose(noisy.image, image + 0.5))


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

    start = jnp.zeros((16, 2))
    assert float(loss(start, 1)) == pytest.approx(math.log(2))
    after = start - 0.1 * jax.grad(loss)(start, 2)
    assert float(loss(after, 3)) < math.log(2)
