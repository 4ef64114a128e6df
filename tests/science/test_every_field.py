"""Every configuration field changes something, and that alone: a wire that is cut or crossed is seen.

A field is changed by itself, from the small configuration of `start`, and what the package then does
(see `every_field`) is compared part by part. The table says which parts change; the others must not.
"""

import tempfile
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import every_field as see
import jax
import numpy as np
import pytest
from field_toys import CLASSES, SHAPE, as_text
from PIL import Image
from toy import set_fields

from varmixup_jax import corruptions
from varmixup_jax.config import base_config
from varmixup_jax.corruptions.photographs import PHOTOGRAPHS
from varmixup_jax.methods import METHODS
from varmixup_jax.saved_config import flatten


class Change(NamedTuple):
    """A field's other value, where it is seen, which parts of that change, and in what context."""

    value: Any
    observer: Any
    parts: str
    context: Mapping[str, Any] = MappingProxyType({})


VAE = {"method": "varmixup"}
ADVERSARIAL = {"method": "adv_varmixup"}
WEIGHTS = "loss weights"
NEW_VAE = "key place network"
NEW_RECIPE = "key place loss weights"

FIELDS = {
    "method": Change("mixup", see.swept, "jobs"),
    "seeds": Change((1,), see.swept, "jobs"),
    "quiet": Change(True, see.swept, "said", {"method": "varmixup,erm"}),
    "data.source": Change("npz:OTHER", see.shared, "train validation"),
    "data.dir": Change("/nowhere/else", see.refused, "refusal", {"data.source": "tiny_imagenet"}),
    "data.val_fraction": Change(1 / 3, see.shared, "train validation"),
    "data.split_seed": Change(1, see.shared, "train validation"),
    "data.limit": Change(12, see.shared, "train"),
    "data.resize": Change(12, see.shared, "train validation"),
    "data.pad": Change(1, see.shared, "augmented"),
    "data.flip": Change(True, see.sampled, WEIGHTS),
    "model.name": Change("preact_resnet8", see.shared, "network"),
    "model.width": Change(6, see.shared, "network"),
    "model.dtype": Change("bfloat16", see.shared, "network"),
    "epochs": Change(3.0, see.planned, "plan"),
    "attack_epochs": Change(1.0, see.planned, "plan", {"method": "at"}),
    "batch_size": Change(10, see.planned, "plan"),
    "ema_decay": Change(0.5, see.trained, "average"),
    "attack_bn": Change("batch", see.sampled, WEIGHTS, {"method": "at"}),
    "optim.name": Change("adam", see.trained, WEIGHTS),
    "optim.learning_rate": Change(0.2, see.trained, "rates loss weights"),
    "optim.schedule": Change("cosine", see.trained, "rates loss weights"),
    "optim.warmup": Change(0.2, see.trained, "rates loss weights"),
    "optim.boundaries": Change(
        (0.1, 0.2), see.trained, "rates loss weights", {"optim.schedule": "piecewise"}
    ),
    "optim.decay": Change(
        0.5,
        see.trained,
        "rates loss weights",
        {"optim.schedule": "piecewise", "optim.boundaries": (0.1, 0.2)},
    ),
    "optim.momentum": Change(0.5, see.trained, WEIGHTS),
    "optim.nesterov": Change(True, see.trained, WEIGHTS),
    "optim.weight_decay": Change(0.1, see.trained, WEIGHTS),
    "optim.clip_norm": Change(0.01, see.trained, WEIGHTS),
    "vae.latent": Change("vector", see.vae_planned, NEW_VAE, VAE),
    "vae.latent_size": Change(3, see.vae_planned, NEW_VAE, VAE),
    "vae.downsample": Change(4, see.vae_planned, NEW_VAE, VAE),
    "vae.width": Change(6, see.vae_planned, NEW_VAE, VAE),
    "vae.blocks": Change(2, see.vae_planned, NEW_VAE, VAE),
    "vae.dtype": Change("bfloat16", see.vae_planned, NEW_VAE, VAE),
    "vae.gamma": Change(0.5, see.vae_trained, NEW_RECIPE, VAE),
    "vae.kernel": Change("imq", see.vae_trained, NEW_RECIPE, VAE),
    "vae.bandwidth": Change(0.5, see.vae_trained, NEW_RECIPE, VAE),
    "vae.estimator": Change("biased", see.vae_trained, NEW_RECIPE, VAE),
    "vae.perceptual": Change(0.5, see.vae_trained, NEW_RECIPE, VAE),
    "vae.perceptual_from": Change(
        "another", see.vae_trained, NEW_RECIPE, {**VAE, "vae.perceptual": 0.5}
    ),
    "vae.epochs": Change(3.0, see.vae_planned, "key place plan", VAE),
    "vae.batch_size": Change(10, see.vae_planned, "key place plan", VAE),
    "vae.learning_rate": Change(0.1, see.vae_trained, NEW_RECIPE, VAE),
    "vae.weight_decay": Change(1.0, see.vae_trained, NEW_RECIPE, VAE),
    "vae.ema_decay": Change(0.5, see.vae_trained, "key place average", VAE),
    "vae.seed": Change(1, see.vae_trained, NEW_RECIPE + " start order draws", VAE),
    "vae.store": Change("OTHER", see.vae_planned, "place", VAE),
    "vae.adversary.objective": Change("latent", see.vae_attacked, NEW_RECIPE, ADVERSARIAL),
    "vae.adversary.eps": Change(0.2, see.vae_attacked, NEW_RECIPE, ADVERSARIAL),
    "vae.adversary.step_size": Change(1e-4, see.vae_attacked, NEW_RECIPE, ADVERSARIAL),
    "vae.adversary.steps": Change(3, see.vae_attacked, NEW_RECIPE, ADVERSARIAL),
    "vae.others": Change(("width=8",), see.sampled, "loss weights", {"method": "varmixup"}),
    "vae.drawn": Change(
        "example",
        see.sampled,
        "loss weights",
        {"method": "varmixup", "vae.others": ("width=8",)},
    ),
    "eval.every_epochs": Change(2.0, see.planned, "plan"),
    "eval.checkpoint": Change("best", see.kept, "evaluated", {"quiet": True}),
    "eval.batch_size": Change(4, see.measured, "batches"),
    "eval.bins": Change(3, see.measured, "ece max overconfidence"),
    "eval.examples": Change(
        9,
        see.measured,
        "accuracy nll brier ece max calibration overconfidence balanced class pgd apgd adversarial "
        "local batches",
    ),
    "eval.ood": Change("npz:OTHER", see.measured, "ood batches"),
    "eval.save_logits": Change("none", see.measured, "logits"),
    "eval.corruptions": Change("computed", see.measured, "corrupted batches"),
    "eval.corruptions_md5": Change(True, see.refused, "refusal", {"eval.corruptions": "FILES"}),
    "eval.frost_dir": Change("FROST", see.shared, "frost"),
    "eval.baseline": Change("mixup", see.swept, "jobs", {"method": "erm,mixup"}),
    "eval.attack_examples": Change(6, see.measured, "pgd apgd adversarial batches"),
    "eval.attack_eps": Change(0.2, see.measured, "pgd apgd"),
    "eval.attack_step_size": Change(0.2, see.measured, "pgd"),
    "eval.attack_steps": Change(3, see.measured, "pgd"),
    "eval.attack_restarts": Change(2, see.measured, "pgd apgd"),
    "eval.apgd_steps": Change(3, see.measured, "apgd"),
    "eval.linearity_examples": Change(6, see.measured, "local batches"),
    "eval.linearity_eps": Change((0.1,), see.measured, "local"),
    "eval.linearity_steps": Change(3, see.measured, "local"),
    "eval.linearity_restarts": Change(2, see.measured, "local"),
    "eval.linearity_relative_step": Change(0.3, see.measured, "local"),
    "checkpoints.keep": Change(1, see.kept, "kept", {"quiet": True}),
    "parallel.via": Change("pmap", see.shared, "devices"),
    "parallel.devices": Change(2, see.shared, "devices"),
    "parallel.steps_per_call": Change(3, see.shared, "calls"),
    "parallel.flat": Change(True, see.planned, "settings"),
    "parallel.deterministic": Change(True, see.commanded, "flags"),
}
"""But for the methods' own settings, which have a table of theirs. There are no exceptions."""

SETTINGS = {
    "alpha": 0.5,
    "amount": "constant",
    "beta": 1.0,
    "clean_weight": 0.25,
    "consistency": 1.0,
    "decoded_views": True,
    "eps": 0.2,
    "groups": 2,
    "input_noise": True,
    "joint": False,
    "lam": "example",
    "latent_noise": 3.0,
    "loss": "bce_softmax",
    "order": "mix_first",
    "partners": 2,
    "severity": 1.0,
    "sigma_add": 0.5,
    "sigma_mult": 0.5,
    "stages": (0,),
    "start_sigma": 0.01,
    "step_size": 0.02,
    "steps": 3,
    "strength": 0.5,
    "styles": 2,
    "then_mixup": True,
    "views": 1,
}


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """Two data sets, published corruptions of the first, photographs of frost, and stores."""
    folder = tmp_path_factory.mktemp("every_field")

    def part(rng, count):
        labels = (np.arange(count) % CLASSES).astype(np.int32)
        noise = rng.integers(0, 120, (count, *SHAPE))
        return (60 * labels[:, None, None, None] + noise).astype(np.uint8), labels

    for seed, name in enumerate(("first", "other")):
        rng = np.random.default_rng(seed)
        (x_train, y_train), (x_test, y_test) = part(rng, 36), part(rng, 12)
        arrays = {"x_train": x_train, "y_train": y_train, "x_test": x_test, "y_test": y_test}
        np.savez(folder / f"{name}.npz", **arrays)
    for name in ("files", "frost"):
        (folder / name).mkdir()
    np.save(folder / "files" / "labels.npy", np.tile(y_test, 5))
    for name in corruptions.NAMES:
        np.save(folder / "files" / f"{name}.npy", np.concatenate([x_test] * 5))
    for name in PHOTOGRAPHS:
        Image.fromarray(rng.integers(0, 256, (60, 60, 3)).astype(np.uint8)).save(
            folder / "frost" / name
        )
    return folder


def start(places):
    """The configuration that fields are changed from."""
    c = base_config()
    c.method = "erm"
    c.data.source = f"npz:{places / 'first.npz'}"
    c.data.val_fraction = 1 / 6
    c.model.name, c.model.width = "resnet8", 4
    c.epochs, c.batch_size = 2.0, 6
    c.optim.schedule = "constant"
    c.parallel.devices = 1
    c.vae.epochs, c.vae.batch_size, c.vae.ema_decay = 2.0, 6, 0.0
    c.eval.batch_size = 12
    c.eval.attack_examples = c.eval.linearity_examples = 12
    c.eval.attack_steps = c.eval.apgd_steps = 2
    return c


def changed(places, fields):
    """`start` with some fields changed; words in capitals stand for places."""
    words = {"OTHER": "other", "FILES": "files", "FROST": "frost"}
    flat = {"vae.store": tempfile.mkdtemp(dir=places), **fields}
    for name, value in flat.items():
        for word, place in words.items():
            if isinstance(value, str) and word in value:
                full = f"{places / place}" + (".npz" if value.startswith("npz:") else "")
                flat[name] = value.replace(word, full)
    return set_fields(
        start(places), **{name.replace(".", "__"): value for name, value in flat.items()}
    )


@pytest.fixture(scope="module")
def observed(places):
    """What an observer sees of a configuration, part by part; each context is looked at once."""
    seen = {}

    def look(observer, fields, again=False):
        key = (observer, repr(dict(fields)))
        if again or key not in seen:
            # optax's Adam and cosine schedule do not run under strict promotion.
            with jax.numpy_dtype_promotion("standard"), jax.default_prng_impl("rbg"):
                parts = observer(changed(places, fields))
            text = {name: as_text(part) for name, part in parts.items()}
            seen.setdefault(key, text)
            return text
        return seen[key]

    return look


def differing(one, other):
    return {name for name in one.keys() | other.keys() if one.get(name) != other.get(name)}


def test_every_field_and_every_setting_is_in_a_table():
    fields = {name for name in flatten(base_config().to_dict()) if not name.startswith("methods.")}
    assert fields == set(FIELDS)
    assert {name for method in METHODS.values() for name in method.settings} == set(SETTINGS)


@pytest.mark.parametrize("name", FIELDS)
def test_a_field_changes_what_it_says_and_nothing_else(name, observed):
    change = FIELDS[name]
    before = observed(change.observer, change.context)
    after = observed(change.observer, {**change.context, name: change.value})
    assert differing(before, after) == set(change.parts.split())


def test_a_seed_is_of_the_first_weights_the_order_of_the_data_and_the_draws(observed):
    before, after = observed(see.trained, {}), observed(see.trained, {"seeds": (1,)})
    assert differing(before, after) == {"start", "order", "draws", "loss", "weights"}


@pytest.mark.parametrize(
    ("observer", "context"),
    [
        *((observer, {}) for observer in (see.shared, see.trained, see.measured, see.swept)),
        (see.vae_attacked, ADVERSARIAL),
        (see.kept, {"quiet": True}),
    ],
)
def test_what_is_observed_is_the_configuration_and_not_chance(observer, context, observed):
    before = observed(observer, context)
    after = observed(observer, context, again=True)
    assert differing(before, after) <= {"place"}  # each time in an empty store


@pytest.mark.parametrize("method", METHODS)
def test_every_setting_of_a_method_changes_its_terms(method, observed):
    """Which print as names and numbers; what they do to the loss is in `test_objectives.py`."""
    context = {"method": method}
    before = observed(see.terms, context)
    for name in METHODS[method].settings:
        after = observed(see.terms, {**context, f"methods.{method}.{name}": SETTINGS[name]})
        assert differing(before, after) == {"terms"}, name
