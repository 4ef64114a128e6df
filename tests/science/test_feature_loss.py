"""The feature loss of the VAE against its equation in NumPy's float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from vae_toys import BATCH, LATENT, SHAPE, TOY, decode64, encode64, loss64, params, slopes

from varmixup_jax.models import build_classifier
from varmixup_jax.models.forward import as_apply
from varmixup_jax.training.feature_loss import feature_distance, stage_outputs
from varmixup_jax.training.vae_loss import Adversary, vae_loss

_rng = np.random.default_rng(0)
WEIGHTS = tuple(_rng.normal(size=size).astype(np.float32) for size in ((1, 3), (6, 4)))
STATS = np.float32(0.3)
IMAGES = _rng.integers(0, 256, (9, *SHAPE)).astype(np.uint8)
INDEX = np.array([7, 0, 3, 5], np.int32)


def stages(np_, weights, image):
    """`[B, 2, 2, 3]` and `[B, 1, 1, 4]`: a place with channels that are all 0 is among them."""
    first = np_.maximum(image @ weights[0] - STATS, 0)
    rows = first.sum(axis=1).reshape(len(image), 1, 1, -1)
    return first, np_.tanh(rows @ weights[1])


def classifier(weights, stats, image, *, train, tap):
    assert not train
    assert stats == STATS
    image = tap(0, image)
    for number, hidden in enumerate(stages(jnp, weights, image), start=1):
        tap(number, hidden)
    return image, stats


def units64(image):
    """Every stage's features, at each place of unit length."""
    hidden = stages(np, WEIGHTS, np.asarray(image, np.float64))
    return [v / np.sqrt((v**2).sum(axis=-1, keepdims=True) + 1e-6) for v in hidden]


def distance64(image, target):
    pairs = zip(units64(image), units64(target), strict=True)
    return np.mean([((a - b) ** 2).sum(axis=-1).mean() for a, b in pairs])


def test_it_is_the_distance_of_unit_features_at_every_stage():
    one, other = _rng.uniform(size=(2, BATCH, *SHAPE)).astype(np.float32)
    dead = (stages(np, WEIGHTS, one)[0] == 0).all(axis=-1)
    assert dead.any()
    assert not dead.all()
    found, slope = jax.value_and_grad(
        lambda x: feature_distance(classifier, WEIGHTS, STATS, x, jnp.asarray(other))
    )(jnp.asarray(one))
    np.testing.assert_allclose(found, distance64(one, other), rtol=1e-5)
    right = slopes(lambda at: distance64(at["x"], other), {"x": one})["x"]
    np.testing.assert_allclose(slope, right, rtol=2e-3, atol=1e-5)
    assert feature_distance(classifier, WEIGHTS, STATS, one, one) == 0


def test_a_residual_network_gives_its_stages_in_evaluation_mode():
    module = build_classifier("resnet8", num_classes=2, mean=[0.5], std=[0.5], width=2)
    image = jax.ShapeDtypeStruct((3, 8, 8, 1), jnp.float32)
    variables = jax.eval_shape(module.init, jax.random.key(0), image)

    def outputs(params, stats, image):
        return stage_outputs(as_apply(module), params, stats, image)

    found = jax.eval_shape(outputs, variables["params"], variables["batch_stats"], image)
    assert [hidden.shape for hidden in found] == [(3, 8, 8, 2), (3, 4, 4, 4), (3, 2, 2, 8)]


def test_the_vae_is_trained_on_the_weighted_sum_towards_the_clean_image(monkeypatch):
    draws = {shape: _rng.normal(size=shape) for shape in ((BATCH, 1, LATENT), (BATCH, LATENT))}
    monkeypatch.setattr(
        jax.random, "normal", lambda key, shape, dtype=None: jnp.asarray(draws[shape], jnp.float32)
    )
    weights, seen = params(), []

    def encode(weights, image):
        if not isinstance(image, jax.core.Tracer):
            seen.append(np.asarray(image))
        return TOY.encode(weights, image)

    loss = vae_loss(
        TOY._replace(encode=encode),
        gamma=0.5,
        augment=lambda key, image: image[:, :, ::-1],
        adversary=Adversary("recon", 0.2, 0.05, 1),
        perceptual=0.25,
        classifier=classifier,
    )
    fixed = {"images": IMAGES, "classifier": (WEIGHTS, STATS)}
    (value, (_, metrics)), found = jax.value_and_grad(loss, has_aux=True)(
        weights, {}, jax.random.key(0), fixed, jnp.asarray(INDEX)
    )
    clean = IMAGES[INDEX][:, :, ::-1].astype(np.float64) / 255
    moved = seen[-1]
    assert np.abs(moved - clean).max() > 0.01
    noise = draws[BATCH, 1, LATENT].reshape(BATCH, LATENT)

    def expected(weights):
        options = {"gamma": 0.5, "kernel": lambda s: np.exp(-s / (2 * LATENT)), "unbiased": True}
        total, error, _ = loss64(weights, moved, clean, noise, draws[BATCH, LATENT], **options)
        mean, log_std = encode64(weights, moved)
        restored = decode64(weights, mean + np.exp(log_std) * noise).reshape(clean.shape)
        return total + 0.25 * distance64(restored, clean), error

    np.testing.assert_allclose(value, expected(weights)[0], rtol=1e-4)
    np.testing.assert_allclose(metrics["reconstruction"], expected(weights)[1], rtol=1e-5)
    right = slopes(lambda weights: expected(weights)[0], weights)
    for name in weights:
        scale = np.abs(right[name]).max()
        np.testing.assert_allclose(found[name], right[name], rtol=2e-3, atol=1e-4 * scale)


def test_a_negative_weight_is_refused():
    with pytest.raises(ValueError, match=r"perceptual = -1.0: must be >= 0"):
        vae_loss(TOY, gamma=1.0, augment=None, perceptual=-1.0)
