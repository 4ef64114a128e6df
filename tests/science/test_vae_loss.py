"""The MMD-VAE's training loss and its gradient, plain and under attack, against NumPy in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from vae_toys import BATCH, LATENT, SHAPE, TOY, decode64, encode64, loss64, params, rows64, slopes

from varmixup_jax.training.vae_loss import Adversary, perturb, psnr, vae_loss
from varmixup_jax.types import identity_augment

IMAGES = np.random.default_rng(1).integers(0, 256, (9, *SHAPE)).astype(np.uint8)
INDEX = np.array([7, 0, 3, 5], np.int32)
CASES = {
    "no MMD": ({"gamma": 0.0}, lambda s: np.exp(-s / (2 * LATENT)), True),
    "default": ({"gamma": 2.0}, lambda s: np.exp(-s / (2 * LATENT)), True),
    "biased, s^2 = 0.7": (
        {"gamma": 0.5, "bandwidth": 0.7, "estimator": "biased"},
        lambda s: np.exp(-s / (2 * 0.7)),
        False,
    ),
    "zhao": ({"gamma": 1000.0, "kernel": "zhao"}, lambda s: np.exp(-s / LATENT**2), True),
    "imq": (
        {"gamma": 3.0, "kernel": "imq"},
        lambda s: sum(
            2 * LATENT * c / (2 * LATENT * c + s) for c in (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
        ),
        True,
    ),
}


@pytest.fixture
def key():
    """Of a generator whose programs compile in a third of the time on CPU."""
    return jax.random.key(0, impl="rbg")


@pytest.fixture
def draws(monkeypatch):
    """What `jax.random.normal` gives from now on, by shape; any other shape is an error."""
    rng = np.random.default_rng(2)
    given = {shape: rng.normal(size=shape) for shape in ((BATCH, 1, LATENT), (BATCH, LATENT))}

    def normal(key, shape, dtype=jnp.float32):
        del key
        return jnp.asarray(given[tuple(shape)], dtype)

    monkeypatch.setattr(jax.random, "normal", normal)
    return given[BATCH, 1, LATENT], given[BATCH, LATENT]


def mirrored(key, image):
    del key
    return image[:, :, ::-1]


@pytest.mark.parametrize("case", CASES)
def test_loss_and_gradient_are_those_of_the_equation(case, draws, key):
    """Also: the batch is the examples of the index over 255, and what augments it comes first."""
    settings, kernel, unbiased = CASES[case]
    loss = vae_loss(TOY, augment=mirrored, **settings)
    weights, stats = params(), {"untouched": 1}
    (value, (kept, seen)), found = jax.jit(jax.value_and_grad(loss, has_aux=True))(
        weights, stats, key, {"images": IMAGES}, INDEX
    )
    image = IMAGES[INDEX][:, :, ::-1].astype(np.float64) / 255

    def expected(weights):
        options = {"gamma": settings["gamma"], "kernel": kernel, "unbiased": unbiased}
        return loss64(weights, image, image, *draws, **options)

    total, reconstruction, mmd = expected(weights)
    # Weights of up to 1,000 magnify what rounding leaves in the MMD.
    np.testing.assert_allclose(value, total, rtol=2e-5)
    np.testing.assert_allclose(seen["reconstruction"], reconstruction, rtol=1e-5)
    np.testing.assert_allclose(seen["mmd"], mmd, rtol=1e-4)
    np.testing.assert_allclose(seen["psnr"], 10 * np.log10(1 / reconstruction), rtol=1e-5)
    assert kept == stats
    right = slopes(lambda weights: expected(weights)[0], weights)
    for name in weights:
        scale = np.abs(right[name]).max()
        np.testing.assert_allclose(found[name], right[name], rtol=2e-4, atol=2e-5 * scale)


def test_noise_and_prior_are_drawn_anew_with_every_key_and_apart_from_each_other(monkeypatch, key):
    drawn, original = [], jax.random.normal

    def normal(*args, **kwargs):
        drawn.append(original(*args, **kwargs))
        return drawn[-1]

    monkeypatch.setattr(jax.random, "normal", normal)
    loss = vae_loss(TOY, gamma=1.0, augment=identity_augment)
    for one in jax.random.split(key):
        loss(params(), {}, one, {"images": IMAGES}, jnp.asarray(INDEX))
    assert len(drawn) == 4
    points = np.stack([np.ravel(one) for one in drawn])
    assert np.abs(points[:, None] - points[None])[~np.eye(4, dtype=bool)].max(axis=1).min() > 0.1


@pytest.mark.parametrize("value", [1.0, 0.1, 2.5e-4])
def test_psnr_is_of_a_peak_of_one(value):
    np.testing.assert_allclose(psnr(jnp.float32(value)), 20 * np.log10(1 / value**0.5), atol=1e-4)


def goal64(objective, weights, image, moved):
    """|D(mu(x')) - x|^2 or |mu(x') - mu(x)|^2 per example, up to a constant factor."""
    latent = encode64(weights, moved)[0]
    if objective == "recon":
        return np.mean((decode64(weights, latent) - rows64(image)) ** 2, axis=1)
    return np.mean((latent - encode64(weights, image)[0]) ** 2, axis=1)


def pgd64(objective, weights, image, start, eps, step_size, steps):
    """x_{t+1} = clip(x_t + step * sign(gradient)), into the ball around x and into [0, 1]."""
    origin = np.asarray(image, np.float64)
    moved = np.asarray(start, np.float64)
    for _ in range(steps):
        slope = slopes(
            lambda at: goal64(objective, weights, origin, at["x"]).sum(), {"x": moved}, step=1e-6
        )["x"]
        moved = np.clip(moved + step_size * np.sign(slope), origin - eps, origin + eps)
        moved = np.clip(moved, 0.0, 1.0)
    return moved


def attacked(key, weights, image, adversary):
    return perturb(
        key,
        lambda image: TOY.encode(weights, image),
        lambda latent: TOY.decode(weights, latent),
        jnp.asarray(image, jnp.float32),
        adversary,
    )


@pytest.mark.parametrize("objective", ["recon", "latent"])
@pytest.mark.parametrize(("steps", "step_size"), [(1, 0.03), (4, 0.02)])
def test_the_attack_is_pgd_on_the_mean_from_its_start(objective, steps, step_size, key):
    weights = params(3)
    image = np.random.default_rng(4).uniform(0, 1, (6, *SHAPE))
    image[0, 0] = 0.0  # where the ball reaches out of [0, 1]
    image[1, 0] = 1.0
    still = Adversary(objective, 0.1, 1e-9, 1)
    start = attacked(key, weights, image, still)
    found = attacked(
        jax.random.clone(key), weights, image, still._replace(step_size=step_size, steps=steps)
    )
    expected = pgd64(objective, weights, image, start, 0.1, step_size, steps)
    np.testing.assert_allclose(found, expected, atol=2e-6)
    assert found.dtype == jnp.float32
    assert np.abs(found - start).max() > 0.9 * step_size


@pytest.mark.parametrize("objective", ["recon", "latent"])
def test_the_attack_does_more_harm_than_a_hundred_random_changes(objective, key):
    weights = params(3)
    image = np.random.default_rng(4).uniform(0.2, 0.8, (6, *SHAPE)).astype(np.float32)
    found = np.asarray(attacked(key, weights, image, Adversary(objective, 0.1, 0.025, 10)))
    assert np.abs(found - image).max() <= 0.1 + 1e-6
    starts = image + np.random.default_rng(5).uniform(-0.1, 0.1, (100, *image.shape))
    random = [goal64(objective, weights, image, start) for start in starts]
    reached = goal64(objective, weights, image, found)
    assert np.all(reached > np.quantile(random, 0.9, axis=0))
    assert reached.mean() > np.max(random, axis=0).mean()


def test_the_attack_starts_uniformly_in_the_ball(key):
    image = np.full((500, *SHAPE), 0.5)
    start = attacked(key, params(), image, Adversary("recon", 0.1, 1e-9, 1))
    place = np.sort(np.ravel(start - 0.5)) / 0.2 + 0.5  # uniform on [0, 1]
    distance = np.abs(place - (np.arange(2000) + 0.5) / 2000).max()
    assert distance < 1.63 / 2000**0.5  # Kolmogorov's bound at 1 %


@pytest.mark.parametrize("objective", ["recon", "latent"])
def test_the_robust_vae_sees_the_attacked_image_and_restores_the_clean_one(objective, draws, key):
    """The attack is around the augmented image, and no gradient flows through it."""
    weights, seen = params(), []

    def encode(weights, image):
        if not isinstance(image, jax.core.Tracer):
            seen.append(np.asarray(image))
        return TOY.encode(weights, image)

    adversary = Adversary(objective, 0.2, 0.05, 8)
    loss = vae_loss(TOY._replace(encode=encode), gamma=2.0, augment=mirrored, adversary=adversary)
    (value, _), found = jax.value_and_grad(loss, has_aux=True)(
        weights, {}, key, {"images": IMAGES}, jnp.asarray(INDEX)
    )
    clean, moved = IMAGES[INDEX][:, :, ::-1].astype(np.float64) / 255, seen[-1]
    assert np.abs(moved - clean).max() == pytest.approx(0.2, abs=1e-6)
    before, after = (goal64(objective, weights, clean, at) for at in (clean, moved))
    assert np.all(after > before)

    def expected(weights):
        options = {"gamma": 2.0, "kernel": CASES["default"][1], "unbiased": True}
        return loss64(weights, moved, clean, *draws, **options)[0]

    np.testing.assert_allclose(value, expected(weights), rtol=1e-4)
    right = slopes(expected, weights)
    for name in weights:
        scale = np.abs(right[name]).max()
        np.testing.assert_allclose(found[name], right[name], rtol=2e-4, atol=2e-5 * scale)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"gamma": -1.0}, "gamma = -1.0"),
        ({"estimator": "unbiast"}, "estimator = 'unbiast'.*did you mean unbiased"),
        ({"kernel": "rbff"}, "kernel = 'rbff'"),
        ({"adversary": Adversary("recn", 0.1, 0.1, 1)}, "objective = 'recn'.*did you mean recon"),
        ({"adversary": Adversary("recon", 0.0, 0.1, 1)}, "eps = 0.0: must be > 0"),
        ({"adversary": Adversary("recon", 0.1, 0.1, 0)}, "steps = 0"),
    ],
)
def test_refusals(fields, message):
    with pytest.raises(ValueError, match=message):
        vae_loss(TOY, augment=identity_augment, **{"gamma": 1.0, **fields})
