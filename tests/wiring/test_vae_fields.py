"""One field of the VAE's configuration is changed: what should change does, and so does its key.

The training itself is left out: what `fitted` would be given is compared, for a VAE of two layers.
"""

import functools
from types import SimpleNamespace
from unittest import mock

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from field_changes import differing
from toy import set_fields

from varmixup_jax.config import base_config
from varmixup_jax.data import Dataset
from varmixup_jax.experiment import vae as experiment
from varmixup_jax.experiment.training import Trained
from varmixup_jax.models.forward import as_vae
from varmixup_jax.types import TrainState

SIZE, LATENT = 4, 2
RNG = np.random.default_rng(0)


class Small(nn.Module):
    """A linear encoder and a linear decoder."""

    latent_shape = (LATENT,)

    def setup(self):
        self.mean, self.log_std = nn.Dense(LATENT), nn.Dense(LATENT)
        self.pixels = nn.Dense(SIZE * SIZE)

    def encode(self, image):
        flat = image.reshape(len(image), -1)
        return self.mean(flat), self.log_std(flat)

    def decode(self, latent):
        return nn.sigmoid(self.pixels(latent)).reshape(len(latent), SIZE, SIZE, 1)

    def __call__(self, image):
        mean, log_std = self.encode(image)
        return self.decode(mean + log_std)


def images(count):
    return RNG.integers(0, 256, (count, SIZE, SIZE, 1), np.uint8)


def labels(count):
    return (np.arange(count) % 2).astype(np.int32)


DATA = Dataset(
    "toy", images(24), labels(24), images(4), labels(4), images(6), labels(6), ("a", "b")
)


@pytest.fixture(autouse=True)
def standard_promotion():
    """optax's Adam and cosine schedule do not run under strict promotion."""
    with jax.numpy_dtype_promotion("standard"), jax.debug_key_reuse(False):
        yield


def config_of(**fields):
    c = base_config()
    c.vae.batch_size, c.vae.epochs, c.vae.adversary.steps = 6, 5.0, 1
    return set_fields(c, **fields)


def setup_of(data=DATA, via="jit", devices=1):
    mapping = SimpleNamespace(via=via, devices=devices, shard_batch=jnp.asarray)
    return SimpleNamespace(data=data, mapping=mapping, preemption=None, steps_per_call=7)


@functools.cache
def usual(kind):
    return observed(config_of(), kind)


def observed(config, kind):
    """What `fitted` is given, as arrays and plain values."""
    given = {}

    def fitted(task, directory, mapping, preemption, *, quiet):
        given.update(task=task, quiet=quiet)
        return Trained(task.fresh, task.fresh, task.plan.total_steps)

    with (
        mock.patch.object(experiment, "fitted", fitted),
        mock.patch.object(experiment, "vae_module", return_value=Small()),
    ):
        experiment._trained(config, setup_of(), kind, None)
    task, index = given["task"], jnp.arange(6)
    fresh, fixed = task.fresh, jax.tree.map(jnp.asarray, task.fixed)
    value, (_, metrics) = task.loss(fresh.params, {}, jax.random.key(9), fixed, index)
    steps, opt_state = [], fresh.opt_state
    for _ in range(3):
        grads = jax.tree.map(jnp.ones_like, fresh.params)
        update, opt_state = task.tx.update(grads, opt_state, fresh.params)
        steps.append(update)
    return {
        "start": fresh.params,
        "key": jax.random.key_data(task.key),
        "order": task.data_seed,
        "plan": task.plan,
        "average": (task.ema_decay, bool(fresh.ema)),
        "updates": steps,
        "loss": (value, metrics),
        "images": task.fixed["images"],
        "quiet": given["quiet"],
    }


# The field, its other value, and what changes with it.
FIELDS = [
    ("vae__gamma", 0.1, "loss"),
    ("vae__kernel", "imq", "loss"),
    ("vae__bandwidth", 7.0, "loss"),
    ("vae__estimator", "biased", "loss"),
    ("vae__epochs", 2.0, "plan updates"),
    ("vae__batch_size", 8, "plan updates"),
    ("vae__learning_rate", 0.1, "updates"),
    ("vae__weight_decay", 0.1, "updates"),
    ("vae__ema_decay", 0.5, "average"),
    ("vae__ema_decay", 0.0, "average"),
    ("vae__seed", 1, "start key order updates loss"),
    ("data__flip", True, "loss"),
    ("data__pad", 1, ""),  # of the classifier alone
    ("seeds", (1,), ""),  # every classifier has the same VAE
    ("optim__learning_rate", 1.0, ""),
    ("quiet", True, "quiet"),
]
ADVERSARY = [
    ("vae__adversary__objective", "latent"),
    ("vae__adversary__eps", 0.5 / 255),
    ("vae__adversary__step_size", 0.5 / 255),
    ("vae__adversary__steps", 3),
]


@pytest.mark.parametrize(("field", "value", "changes"), FIELDS, ids=[f[0] for f in FIELDS])
def test_a_field_changes_what_it_should(field, value, changes):
    after = observed(config_of(**{field: value}), "standard")
    assert differing(usual("standard"), after) == set(changes.split())


@pytest.mark.parametrize(("field", "value"), ADVERSARY, ids=[f[0] for f in ADVERSARY])
@pytest.mark.parametrize("kind", ["standard", "adversarial"])
def test_the_adversary_is_that_of_the_adversarial_vae(kind, field, value):
    after = observed(config_of(**{field: value}), kind)
    assert differing(usual(kind), after) == ({"loss"} if kind == "adversarial" else set())


def test_the_plan_is_that_of_the_configuration():
    assert usual("standard")["plan"] == (24, 6, 20, 7, 4)
    assert usual("standard")["average"] == (0.999, True)
    np.testing.assert_array_equal(usual("standard")["images"], DATA.train_images)


def test_the_key_is_made_of_all_the_vae_depends_on():
    def key(kind="standard", setup=None, **fields):
        return experiment.vae_key(config_of(**fields), setup or setup_of(), kind)

    other = {
        "vae__latent": "vector", "vae__latent_size": 3, "vae__downsample": 2, "vae__width": 5,
        "vae__blocks": 3, "vae__dtype": "bfloat16", "data__flip": True,
        **{field: value for field, value, _ in FIELDS if field.startswith("vae__")},
    }  # fmt: skip
    fields = {f"vae__{name}" for name in base_config().vae} - {"vae__store", "vae__adversary"}
    assert fields < set(other)
    relabelled = DATA._replace(train_labels=1 - DATA.train_labels)
    brighter = DATA._replace(train_images=DATA.train_images // 2)
    made = [key(), key("adversarial")]
    made += [key(**{name: value}) for name, value in other.items()]
    made += [key("adversarial", **{name: value}) for name, value in ADVERSARY]
    made += [key(setup=setup_of(data)) for data in (relabelled, brighter)]
    made += [key(setup=setup_of(via="pmap", devices=n)) for n in (1, 2)]
    assert len(set(made)) == len(made)
    same = [
        key(vae__store="elsewhere"),
        key(seeds=(3,), optim__momentum=0.1, data__pad=1),
        key(setup=setup_of(devices=2)),  # under jit: only rounding
        key(setup=setup_of(DATA._replace(test_images=DATA.test_images // 2))),
        *(key(**{name: value}) for name, value in ADVERSARY),
    ]
    assert set(same) == {key()}


def test_latents_are_means_and_the_psnr_is_of_the_test_split(tmp_path):
    module = Small()
    params = module.init(jax.random.key(0), jnp.zeros((1, SIZE, SIZE, 1)))["params"]
    state = TrainState(0, jax.tree.map(jnp.zeros_like, params), {}, (), (params, {}))
    config = config_of(vae__store=str(tmp_path))
    with (
        mock.patch.object(experiment, "fitted", return_value=Trained(state, state, 20)),
        mock.patch.object(experiment, "vae_module", return_value=module),
    ):
        made, again = (experiment.obtain(config, setup_of(), "standard") for _ in range(2))
    dense = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params)  # the averaged ones

    def layer(name, x):
        return x @ dense[name]["kernel"] + dense[name]["bias"]

    mean = layer("mean", DATA.train_images.reshape(24, -1) / 255)
    np.testing.assert_allclose(made.latents, mean, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(again.latents, made.latents)
    pixels = DATA.test_images.reshape(6, -1) / 255
    restored = 1 / (1 + np.exp(-layer("pixels", layer("mean", pixels))))
    psnr = -10 * np.log10(np.mean((restored - pixels) ** 2))
    assert made.info["psnr"] == pytest.approx(psnr, rel=1e-4)
    assert again.info == made.info
    assert as_vae(module).latent_shape == made.vae.latent_shape
