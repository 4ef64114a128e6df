"""The VAE of an experiment: the key it is kept under, how it was trained, and what is kept of it."""

import hashlib
import json
import os
import socket
from types import SimpleNamespace
from typing import Any
from unittest import mock

import every_field as see
import field_toys
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from toy import set_fields

from varmixup_jax import models
from varmixup_jax.config import base_config, freeze
from varmixup_jax.models.saved import FILE, as_arrays
from varmixup_jax.runs import locks, resume, run_directory, setup, vae_store
from varmixup_jax.saved_config import flatten
from varmixup_jax.training.parallel import distribute

NOT_IN_THE_KEY = {
    "store": "where it is kept",
    "others": "each has a key of its own",
    "drawn": "how classifiers use them",
    "perceptual_from": "the weights there are, where they are used",
}
ANOTHER: dict[str, Any] = {  # where twice the default is no other value, or not of the field
    "latent": "vector",
    "others": ("width=8",),
    "drawn": "example",
    "downsample": 4,
    "dtype": "bfloat16",
    "kernel": "imq",
    "bandwidth": 0.5,
    "estimator": "biased",
    "ema_decay": 0.7,
    "seed": 1,
    "perceptual": 0.5,
    "perceptual_from": "elsewhere",
    "store": "elsewhere",
    "adversary.objective": "latent",
}
FIELDS = flatten(base_config().vae.to_dict())


def small(folder, name="set", changed=None, **fields):
    """A recipe for a data set of 24 training and 12 test images, one of them changed in a pixel."""
    rng = np.random.default_rng(0)
    labels = (np.arange(24) % 3).astype(np.int32)
    images = rng.integers(0, 250, (36, *field_toys.SHAPE)).astype(np.uint8)
    if changed is not None:
        images[changed, 2, 3, 1] += 1
    parts = {"x_train": images[:24], "x_test": images[24:]}
    np.savez(folder / f"{name}.npz", **parts, y_train=labels, y_test=labels[:12])
    c = base_config()
    c.quiet = True
    c.data.source = f"npz:{folder / name}.npz"
    c.data.val_fraction = 0.0
    c.model.name, c.batch_size, c.parallel.devices = "resnet8", 8, 1
    c.vae.batch_size, c.vae.epochs, c.vae.ema_decay = 8, 2.0, 0.5
    c.vae.store = str(folder / "store")
    c.eval.batch_size = 7  # no divisor of either split
    return set_fields(c, **fields)


def vae_key(config, setup, kind):
    return vae_store.vae_key(setup._replace(config=freeze(config)), kind)


def obtain(config, setup):
    return vae_store.obtain(setup._replace(config=freeze(config)), "standard")


def with_fields(config, **fields):
    return set_fields(config.copy_and_resolve_references(), **fields)


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    config = small(tmp_path_factory.mktemp("data"))
    return config, see.prepared(config)


@pytest.mark.parametrize("kind", ["standard", "adversarial"])
@pytest.mark.parametrize("field", FIELDS)
def test_every_field_of_the_vae_is_in_its_key(field, kind, shared, monkeypatch):
    monkeypatch.setattr(vae_store, "perceptual_classifier", see.toy_model)
    config, setup = shared
    value = ANOTHER[field] if field in ANOTHER else 2 * FIELDS[field]
    other = with_fields(config, **{f"vae__{field}".replace(".", "__"): value})
    same = vae_key(config, setup, kind) == vae_key(other, setup, kind)
    needless = field in NOT_IN_THE_KEY or (kind == "standard" and field.startswith("adversary."))
    assert same == needless


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


@pytest.fixture(scope="module")
def obtained(tmp_path_factory):
    """Toy matrices through the real training loop: the result, what was trained, and how it ended."""
    config = small(tmp_path_factory.mktemp("data"), data__flip=True, method="varmixup")
    setup, seen, fitted = see.prepared(config), {}, vae_store.fitted

    def watched(task, *args, **kwargs):
        seen["task"], seen["ended"] = task, fitted(task, *args, **kwargs)
        return seen["ended"]

    with (
        # optax's Adam and cosine schedule do not run under strict promotion.
        jax.numpy_dtype_promotion("standard"),
        jax.default_prng_impl("rbg"),
        mock.patch.object(models, "init", field_toys.toy_init),
        mock.patch.multiple(vae_store, fitted=watched, as_vae=lambda module: field_toys.TOY_VAE),
    ):
        first = obtain(config, setup)
        with mock.patch.object(resume, "fit", side_effect=AssertionError("is trained again")):
            second = obtain(config, setup)
            noisy = with_fields(config, methods__varmixup__latent_noise=0.5)
            with mock.patch.object(vae_store, "SPREAD_OVER", 11):
                seen["noisy"] = obtain(noisy, setup)
    return first, second, seen, setup.data


def flat64(images):
    return 8 * (np.asarray(images, np.float64).reshape(len(images), -1) / 255 - 0.4)


def means64(params, images):
    """mu(x) of the toy."""
    weights = np.asarray(params["encode"], np.float64)[:, : field_toys.LATENT]
    return np.tanh(flat64(images) @ weights)


def decoded64(params, latent):
    weights = np.asarray(params["decode"], np.float64)
    return 1 / (1 + np.exp(-3 * latent @ weights))


def test_the_average_of_the_weights_is_frozen(obtained):
    found, _, seen, _ = obtained
    ended = seen["ended"].last
    for name, value in found.params.items():
        np.testing.assert_array_equal(value, ended.ema[0][name])
    assert np.abs(found.params["decode"] - ended.params["decode"]).max() > 1e-5
    assert int(ended.step) == 6


def test_the_cached_latents_are_the_means_of_the_images_as_they_are(obtained):
    """Neither samples of q(z|x) nor means of mirrored images, though training mirrored them."""
    found, _, _, data = obtained
    expected = means64(found.params, data.train_images)
    assert found.latents.dtype == np.float32
    np.testing.assert_allclose(found.latents.reshape(expected.shape), expected, atol=1e-5)


def test_the_spread_is_the_root_mean_square_of_the_posteriors_over_training_images(obtained):
    found, _, seen, data = obtained
    weights = np.asarray(found.params["encode"], np.float64)[:, field_toys.LATENT :]
    std = np.exp(0.1 * flat64(data.train_images[:11]) @ weights)
    expected = np.sqrt((std**2).mean(axis=0)).reshape(field_toys.GRID)
    assert np.ptp(std, axis=0).min() > 0.1
    np.testing.assert_allclose(seen["noisy"].latent_std, expected, rtol=1e-5)
    assert found.latent_std is None  # nothing asks for it


def test_reconstructions_decode_the_mean_and_psnr_is_theirs(obtained):
    found, _, _, data = obtained
    expected = decoded64(found.params, means64(found.params, data.test_images))
    restored = vae_store.reconstruct(found, data.test_images, 5)
    assert restored.shape == data.test_images.shape
    np.testing.assert_allclose(restored.reshape(len(restored), -1), expected, atol=1e-5)
    error = np.mean((expected - data.test_images.reshape(len(restored), -1) / 255) ** 2)
    assert found.info["psnr"] == pytest.approx(10 * np.log10(1 / error), abs=1e-3)


def test_what_is_in_the_store_is_not_made_again(obtained):
    first, second, _, _ = obtained
    np.testing.assert_array_equal(first.latents, second.latents)
    for name, value in first.params.items():
        np.testing.assert_array_equal(second.params[name], value)
    assert second.info == first.info


def test_who_waits_for_the_vae_of_another_process_says_so(shared, tmp_path, monkeypatch, capsys):
    config, setup = shared
    config = with_fields(config, vae__store=str(tmp_path), quiet=False)
    key = vae_key(config, setup, "standard")
    other = run_directory.claimed(tmp_path / key)
    other.__enter__()
    leaves = lambda _: other.__exit__(None, None, None)  # noqa: E731
    monkeypatch.setattr(locks.time, "sleep", leaves)
    with mock.patch.object(vae_store, "_trained", side_effect=StopIteration) as trained:
        with pytest.raises(StopIteration):
            obtain(config, setup)
        trained.assert_called_once()
    who = f"process {os.getpid()} on {socket.gethostname()}"
    waits = f"VAE {key}: waiting for {who} (0 s), which makes it"
    assert capsys.readouterr().err.splitlines() == [waits]


def test_a_finished_vae_is_read_without_a_lock(shared, tmp_path):
    """As from a store that only others may write."""
    config, setup = shared
    config = with_fields(config, vae__store=str(tmp_path))
    place = tmp_path / vae_key(config, setup, "standard")
    for name in vae_store.PARTS:
        (place / name).mkdir(parents=True)
    with (
        mock.patch.object(run_directory, "claimed", side_effect=AssertionError("locked")),
        mock.patch.object(vae_store, "_trained", side_effect=StopIteration),
        pytest.raises(StopIteration),
    ):
        obtain(config, setup)


@pytest.mark.parametrize("flip", [True, False])
def test_the_vae_is_trained_on_mirrored_images_where_the_recipe_mirrors(flip, tmp_path):
    seen = []

    def encode(params, image):
        seen.append(np.asarray(image))
        return field_toys.encode(params, image)

    def fitted(task, *args, **kwargs):
        fixed, index = jax.tree.map(jnp.asarray, task.fixed), jnp.arange(16)
        task.loss(task.fresh.params, {}, task.key, fixed, index)
        raise StopIteration

    config = small(tmp_path, data__flip=flip, data__pad=2)
    setup = see.prepared(config)
    recording = field_toys.TOY_VAE._replace(encode=encode)
    with (
        jax.numpy_dtype_promotion("standard"),
        jax.default_prng_impl("rbg"),
        mock.patch.object(models, "init", field_toys.toy_init),
        mock.patch.multiple(vae_store, fitted=fitted, as_vae=lambda module: recording),
        pytest.raises(StopIteration),
    ):
        obtain(config, setup)
    (image,), plain = seen, setup.data.train_images[:16] / np.float32(255)

    def same(one, other):
        return np.abs(one - other).max(axis=(1, 2, 3)) < 1e-6

    as_they_are, mirrored = same(image, plain), same(image, plain[:, :, ::-1])
    assert np.all(as_they_are ^ mirrored)  # whole images: crops come after decoding
    assert mirrored.any() == flip
    assert as_they_are.any()


def test_weights_decay_apart_from_the_gradient_along_a_cosine(obtained):
    """AdamW (Loshchilov and Hutter 2019): with no gradient w <- (1 - lr_t wd) w."""
    tx = obtained[2]["task"].tx
    weights = {"w": jnp.asarray([2.0, -3.0])}
    state = tx.init(weights)
    with jax.numpy_dtype_promotion("standard"):
        for step in range(6):
            rate = 1e-3 * (1 + np.cos(np.pi * step / 6)) / 2
            update, state = tx.update({"w": jnp.zeros(2)}, state, weights)
            np.testing.assert_allclose(
                update["w"], -rate * 1e-4 * np.asarray(weights["w"]), rtol=1e-3, atol=1e-12
            )
            weights = {"w": weights["w"] + update["w"]}
