"""The key that an experiment's VAE is kept under: of all that its training depends on, and no more."""

import hashlib
import json
from types import SimpleNamespace

import every_field as see
import jax
import numpy as np
import pytest
from test_every_field import FIELDS
from vae_recipes import small, vae_key, with_fields

from varmixup_jax import models
from varmixup_jax.config import freeze
from varmixup_jax.models.saved import FILE, as_arrays
from varmixup_jax.runs import setup, vae_store
from varmixup_jax.saved_config import flatten
from varmixup_jax.training.parallel import distribute

NOT_IN_THE_KEY = {
    "store": "where it is kept",
    "others": "each has a key of its own",
    "drawn": "how classifiers use them",
    "perceptual_from": "the weights there are, where they are used",
}


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    config = small(tmp_path_factory.mktemp("data"))
    return config, see.prepared(config)


@pytest.mark.parametrize("kind", ["standard", "adversarial"])
def test_every_field_of_the_vae_is_in_its_key(kind, shared, monkeypatch):
    monkeypatch.setattr(vae_store, "perceptual_classifier", see.toy_model)
    config, setup = shared
    key = vae_key(config, setup, kind)
    for field in flatten(config.vae.to_dict()):
        value = FIELDS[f"vae.{field}"].value
        other = with_fields(config, **{f"vae__{field}".replace(".", "__"): value})
        needless = field in NOT_IN_THE_KEY or (
            kind == "standard" and field.startswith("adversary.")
        )
        assert (vae_key(other, setup, kind) == key) == needless, field


def test_the_key_is_of_the_weights_of_the_classifier_and_not_of_their_place(shared, monkeypatch):
    config, setup = shared
    on = with_fields(config, vae__perceptual=0.5, vae__perceptual_from="a")
    weights = {"w": np.ones(2)}

    def key(config=on, about="small", stats=(), **params):
        model = SimpleNamespace(params=params, stats=stats, about={"classifier": about})
        monkeypatch.setattr(vae_store, "perceptual_classifier", lambda vae: model)
        return vae_key(config, setup, "standard")

    elsewhere = with_fields(on, vae__perceptual_from="b")
    assert key(**weights) == key(elsewhere, **weights)
    others = {key(), key(w=np.zeros(2)), key(about="large", **weights), key(stats=1, **weights)}
    weighed = with_fields(on, vae__perceptual=0.25)
    assert len({key(**weights), key(weighed, **weights), *others}) == 6


@pytest.mark.parametrize(
    ("shape", "refusal"),
    [
        ((8, 8, 3), None),
        ((8, 8, 1), "is of images of shape [8, 8, 1], must be [8, 8, 3]"),
        ((9, 8, 3), "is of images of shape [9, 8, 3], must be [8, 8, 3]"),
        (None, "no such file, must be the model.npz of a run that was trained"),
        ("", "must be the directory of a trained run, or its model.npz, where vae.perceptual > 0"),
    ],
)
def test_a_classifier_of_other_images_is_refused_before_anything_is_made(shape, refusal, tmp_path):
    config = small(tmp_path, vae__perceptual=0.5, method="varmixup")
    if shape != "":
        config.vae.perceptual_from = str(tmp_path / "run")
    if shape:
        (tmp_path / "run").mkdir()
        module = models.build_classifier("resnet8", num_classes=3, mean=[0.5], std=[0.5])
        arrays = as_arrays(module, {"w": np.ones(2)}, {}, image_shape=shape)
        np.savez(tmp_path / "run" / FILE, **arrays)
    if refusal is None:
        found = setup.prepare(freeze(config))
        assert vae_key(config, found, "standard")
        return
    with pytest.raises(ValueError) as refused:
        setup.prepare(freeze(config))
    assert str(refused.value).startswith("config.vae.perceptual_from = ")
    assert refusal in str(refused.value)
    assert "\n" not in str(refused.value)
    config.method = "erm"  # which needs no VAE
    setup.prepare(freeze(config))


def test_the_key_without_a_classifier_is_that_of_before_there_were_any(shared):
    config, setup = shared
    fields = config.vae.to_dict()
    for name in ("store", "others", "drawn", "adversary", "perceptual", "perceptual_from"):
        del fields[name]
    parts = [1, "standard", fields, False, setup.data.fingerprint, ["jit", 0]]
    text = json.dumps(parts, sort_keys=True)
    key = vae_key(config, setup, "standard")
    assert key.endswith(hashlib.sha256(text.encode()).hexdigest()[:16])


def test_the_key_is_of_the_training_images_and_not_of_their_name(tmp_path):
    def ending(*args):
        config = small(tmp_path, *args)
        return vae_key(config, see.prepared(config), "standard").rpartition("-")[2]

    key = ending("set")
    assert ending("other") == key
    assert ending("set", 5) != key
    assert ending("set", 30) == key  # a test image


def test_the_key_is_of_kind_flip_and_what_each_device_sees(shared):
    config, setup = shared
    key = vae_key(config, setup, "standard")
    assert vae_key(config, setup, "adversarial") != key
    flipped = with_fields(config, data__flip=True)
    assert vae_key(flipped, setup, "standard") != key

    def spread(via, devices):
        mapping = distribute(via, jax.devices()[:devices])
        return vae_key(config, setup._replace(mapping=mapping), "standard")

    assert spread("jit", 2) == key  # one program on several devices: the same up to rounding
    assert len({key, spread("pmap", 1), spread("pmap", 2)}) == 3


def test_the_key_is_of_nothing_that_only_the_classifier_needs(shared):
    config, setup = shared
    other = with_fields(
        config,
        method="mixup_r",
        epochs=7.0,
        batch_size=4,
        seeds=(3,),
        data__pad=2,  # means are of whole images, which are cropped after they are decoded
        optim__learning_rate=1.0,
        eval__batch_size=5,
    )
    assert vae_key(other, setup, "standard") == vae_key(config, setup, "standard")
