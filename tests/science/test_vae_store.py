"""The VAE of an experiment: how it was trained, what is kept of it, and who waits for whom."""

import os
import socket
from unittest import mock

import every_field as see
import field_toys
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from vae_recipes import small, vae_key, with_fields

from varmixup_jax import models
from varmixup_jax.config import freeze
from varmixup_jax.runs import locks, resume, run_directory, vae_store


def obtain(config, setup):
    return vae_store.obtain(setup._replace(config=freeze(config)), "standard")


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    config = small(tmp_path_factory.mktemp("data"))
    return config, see.prepared(config)


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


def test_what_is_told_of_a_vae_is_its_own(obtained):
    """Another run may find it, with another store and other VAEs beside it."""
    fields = obtained[0].info["config"]
    assert fields["epochs"] == 2.0
    assert not {"store", "others", "drawn"} & fields.keys()


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
    waits = f"VAE {key}: waiting for {who} (0 s), which is training it"
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
