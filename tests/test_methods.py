"""Every registered method keeps the guarantees that `Vicinity` states."""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from varmixup_jax import methods
from varmixup_jax.config import base_config
from varmixup_jax.losses import ce
from varmixup_jax.report.names import METHODS as METHODS_OF_THE_REPORT
from varmixup_jax.runs.classifier import epochs_of
from varmixup_jax.types import Draw, Env, Term
from varmixup_jax.validation import validate
from varmixup_jax.vicinal.mixing import dirac

WEIGHTS = jax.random.normal(jax.random.key(5), (64, 4))


def logits(image):
    return image.reshape(image.shape[0], -1) @ WEIGHTS


def encode(image):
    return 4.0 * image - 2.0


def decode(latent):
    return jax.nn.sigmoid(latent)


ENV = Env(logits, encode, decode)
# What turns each vicinity into the identity: no mixing (alpha 0), or an attack of radius 0.
NEUTRAL = {
    "mixup": {"alpha": 0.0},
    "manifold_mixup": {"alpha": 0.0},
    "at": {"eps": 0.0},
    "trades": {"eps": 0.0},
    "iat": {"eps": 0.0, "alpha": 0.0},
    "noisymix": {"alpha": 0.0, "severity": 0.0, "sigma_add": 0.0, "sigma_mult": 0.0},
    "varmixup_augmix": {"alpha": 0.0, "severity": 0.0},
    "varmixup_noisymix": {"alpha": 0.0, "severity": 0.0, "sigma_add": 0.0, "sigma_mult": 0.0},
    "restyle": {"strength": 0.0},
    "restyle_augmix": {"strength": 0.0, "severity": 0.0},
}
AUGMIXED = ("augmix", "noisymix", "varmixup_augmix", "varmixup_noisymix", "restyle_augmix")
ONE_VIEW = {name: {"views": 1} for name in AUGMIXED}


@pytest.fixture
def draw():
    image = jax.random.uniform(jax.random.key(7), (8, 8, 8, 1))
    label = jax.nn.softmax(3 * jax.random.normal(jax.random.key(8), (8, 4)))
    return Draw(image, label)


def samples(name, draw, **settings):
    """What each term of a method draws."""
    terms = methods.build(name, **ONE_VIEW.get(name, {}) | settings)
    return [term.vicinity(jax.random.key(0, impl="rbg"), ENV, draw) for term in terms]


@pytest.mark.parametrize("name", methods.METHODS)
def test_shapes_dtypes_and_ranges_are_kept_and_neutral_settings_give_the_input_back(name, draw):
    hidden = jnp.linspace(0.0, 1.0, 8 * 2 * 2 * 3).reshape(8, 2, 2, 3)
    for out in samples(name, draw):
        assert (out.image.shape, out.image.dtype) == (draw.image.shape, draw.image.dtype)
        assert (out.label.shape, out.label.dtype) == (draw.label.shape, draw.label.dtype)
        assert 0 <= np.min(out.image) <= np.max(out.image) <= 1
        np.testing.assert_allclose(out.label.sum(axis=1), 1.0, rtol=1e-5)
        assert out.tap(1, hidden).shape == hidden.shape
    neutral = NEUTRAL.get(name, {"alpha": 0.0} if name != "erm" else {})
    for index, out in enumerate(samples(name, draw, **neutral)):
        through_vae = methods.METHODS[name].vae != "none" and index == 0
        expected = decode(encode(draw.image)) if through_vae else draw.image
        np.testing.assert_allclose(out.image, expected, atol=1e-6)
        np.testing.assert_allclose(out.label, draw.label, rtol=1e-6)
        np.testing.assert_array_equal(out.tap(0, hidden), hidden)


def test_the_methods_are_the_terms_of_the_table():
    weights = {name: [t.weight for t in methods.build(name)] for name in methods.METHODS}
    assert weights == {
        "erm": [1.0],
        "mixup": [1.0],
        "mixup_r": [1.0],
        "manifold_mixup": [1.0],
        "at": [1.0],
        "trades": [1.0, 6.0],
        "iat": [0.5, 0.5],
        "varmixup": [1.0],
        "adv_varmixup": [1.0],
        "augmix": [1.0, 6.0, 6.0],
        "noisymix": [0.5, 0.5, 6.0, 6.0],
        "varmixup_augmix": [0.5, 0.5, 6.0, 6.0],
        "varmixup_noisymix": [0.5, 0.5, 6.0, 6.0],
        "restyle": [0.5, 0.5],
        "restyle_augmix": [0.5, 0.5, 6.0, 6.0],
    }
    assert methods.paper_methods() == METHODS_OF_THE_REPORT == tuple(weights)[:9]
    assert methods.METHODS["adv_varmixup"].vae == "adversarial"
    assert methods.build("varmixup", clean_weight=0.25)[1] == Term(0.25, dirac, ce)


def test_noise_stays_off_the_input_unless_asked_for(draw):
    def stages(**settings):
        noise = methods.build("noisymix", **settings)[2].vicinity.keywords["vicinities"][1]
        return noise.keywords["stages"] if noise is not dirac else ()

    assert stages() == (1, 2)
    assert stages(input_noise=True) == (0, 1, 2)
    assert stages(stages=(0,)) == ()


def test_a_tenth_method_in_a_few_lines(draw):
    def add_noise(key, env, draw, *, sigma):
        noise = sigma * jax.random.normal(key, draw.image.shape)
        return draw._replace(image=jnp.clip(draw.image + noise, 0, 1), latent=None)

    @methods.register("noisy", summary="Gaussian noise around each example")
    def noisy(*, sigma: float = 0.1):
        return (Term(1.0, partial(add_noise, sigma=sigma), ce),)

    try:
        out = samples("noisy", draw, sigma=0.5)[0]
        assert float(jnp.abs(out.image - draw.image).mean()) > 0.1
        assert methods.METHODS["noisy"].settings == {"sigma": 0.1}
        with pytest.raises(ValueError, match="registered already"):
            methods.register("noisy", summary="")(noisy)
    finally:
        del methods.METHODS["noisy"]


def test_a_method_says_itself_that_it_attacks():
    """Not the names of its settings: neither `steps` nor `eps` makes an attack."""

    @methods.register("patient", summary="has steps, and attacks nobody")
    def patient(*, steps: int = 0, eps: float = 0.0):
        return (Term(1.0, dirac, ce),)

    @methods.register("quick", attacks=True, summary="attacks in a way of its own")
    def quick(*, radius: float = 0.1):
        return (Term(1.0, dirac, ce),)

    try:
        config = base_config()
        config.epochs, config.attack_epochs, config.method = 30.0, 7.0, "patient,quick"
        config.vae.epochs = 0.0
        config = validate(config, devices=1)  # where nothing attacks, steps and eps may be 0
        epochs = {name: epochs_of(config, name) for name in methods.METHODS}
        assert {name for name in epochs if epochs[name] == 7.0} == {"at", "trades", "iat", "quick"}
        assert set(epochs.values()) == {7.0, 30.0}
        config = replace(config, attack_epochs=None)
        assert epochs_of(config, "quick") == 30.0
    finally:
        del methods.METHODS["patient"], methods.METHODS["quick"]


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("varmixip", {}, "did you mean varmixup"),
        ("mixup", {"alfa": 1.0}, "setting of mixup = 'alfa'.*did you mean alpha"),
        ("mixup", {"alpha": -1.0}, "alpha = -1.0"),
        ("varmixup", {"clean_weight": 1.5}, "clean_weight = 1.5"),
        ("mixup_r", {"order": "x"}, "order = 'x'"),
        ("at", {"eps": -0.1}, "eps|radius"),
        ("augmix", {"views": 0}, "views = 0: must be a whole number >= 1"),
        ("augmix", {"consistency": -1.0}, "consistency = -1.0: must be >= 0"),
        ("noisymix", {"sigma_add": -1.0}, "sigma_add = -1.0"),
        ("varmixup_augmix", {"severity": 0.01}, "severity = 0.01: must be 0 or lie in"),
    ],
)
def test_refusals(name, settings, message):
    with pytest.raises(ValueError, match=message):
        methods.build(name, **settings)
