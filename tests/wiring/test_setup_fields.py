"""One field of the data, the model or the devices is changed: what should change does, nothing else."""

import functools

import jax
import numpy as np
import pytest
from field_changes import differing
from toy import set_fields

from varmixup_jax.config import base_config
from varmixup_jax.experiment import setup as experiment

TRAIN, TEST, SIZE, CLASSES = 40, 12, 8, 4
RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A data set as an npz file."""
    arrays = {}
    for part, count in (("train", TRAIN), ("test", TEST)):
        arrays[f"x_{part}"] = RNG.integers(0, 256, (count, SIZE, SIZE, 3), np.uint8)
        arrays[f"y_{part}"] = np.arange(count) % CLASSES
    path = tmp_path_factory.mktemp("data") / "set.npz"
    np.savez(path, **arrays)
    return f"npz:{path}"


def config_of(source, **fields):
    c = base_config()
    c.data.source, c.data.val_fraction, c.data.limit = source, 0.2, 30
    c.model.name, c.batch_size, c.vae.batch_size = "resnet8", 8, 8
    c.parallel.devices = 2
    return set_fields(c, **fields)


@functools.cache
def usual(source):
    return prepared(config_of(source))


def prepared(config):
    """What `prepare` makes of a configuration, as arrays and plain values."""
    found = experiment.prepare(config, None)
    data, module = found.data, found.module
    vae = experiment.vae_module(config, data.image_shape)
    image = data.train_images[:4].astype(np.float32)
    return {
        "training": (data.train_images, data.train_labels),
        "validation": (data.val_images, data.val_labels),
        "test": (data.test_images, data.test_labels),
        "shape": data.image_shape,
        "augmented": found.augment(jax.random.key(0), jax.numpy.asarray(image)),
        "architecture": (module.blocks, module.preactivation, module.final_norm),
        "width": module.width,
        "dtype": module.dtype,
        "normalisation": (module.mean, module.std),
        "vae": {
            "latent": vae.latent_shape,
            **{name: getattr(vae, name) for name in ("width", "blocks", "dtype")},
        },
        "mapping": (found.mapping.via, found.mapping.devices),
        "steps_per_call": found.steps_per_call,
        "corruptions": (found.corruption_source, found.frost_source),
    }


DATA = "training validation augmented normalisation"
# The field, its other value, and what changes with it.
FIELDS = [
    ("data__val_fraction", 0.4, DATA),
    ("data__split_seed", 1, DATA),
    ("data__limit", 20, "training normalisation"),
    ("data__resize", 4, f"{DATA} test shape vae"),
    ("data__pad", 2, "augmented"),
    ("data__flip", True, "augmented"),
    ("model__name", "preact_resnet8", "architecture"),
    ("model__width", 5, "width"),
    ("model__dtype", "bfloat16", "dtype"),
    ("vae__latent", "vector", "vae"),
    ("vae__latent_size", 3, "vae"),
    ("vae__downsample", 4, "vae"),
    ("vae__width", 5, "vae"),
    ("vae__blocks", 0, "vae"),
    ("vae__dtype", "bfloat16", "vae"),
    ("parallel__via", "pmap", "mapping"),
    ("parallel__devices", 4, "mapping"),
    ("parallel__devices", 0, "mapping"),  # all eight
    ("parallel__steps_per_call", 3, "steps_per_call"),
    ("optim__learning_rate", 1.0, ""),
]


@pytest.mark.parametrize(("field", "value", "changes"), FIELDS, ids=[f[0] for f in FIELDS])
def test_a_field_changes_what_it_should(source, field, value, changes):
    after = prepared(config_of(source, **{field: value}))
    assert differing(usual(source), after) == set(changes.split())
    if field == "parallel__devices":
        assert after["mapping"] == ("jit", value or len(jax.devices()))
