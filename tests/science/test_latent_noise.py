"""Noise on what is decoded, against its equation: x' = D(M z + s sigma * eps), eps ~ N(0, I).

The decoder gives latents back and the labels are the identity, so that a sample *is* what was decoded
and its label the weights M: what is left of the image without M z is the noise.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from varmixup_jax.methods import build
from varmixup_jax.models.forward import VAE
from varmixup_jax.training.classifier_loss import classifier_loss
from varmixup_jax.types import Draw, Env
from varmixup_jax.vicinal.mixing import latents, mix, noisy_latents
from varmixup_jax.vicinal.objective import RiskOutput
from varmixup_jax.vicinal.restyle import restyle
from varmixup_jax.vicinal.several_vaes import OtherVAE, sample_over

BATCH, SHAPE = 40, (4, 4, 8)
_rng = np.random.default_rng(0)
Z = _rng.normal(size=(BATCH, *SHAPE)).astype(np.float32)
STD = _rng.uniform(0.1, 2.0, SHAPE).astype(np.float32)
ENV = Env(None, lambda image: image, lambda latent: latent, latent_std=jnp.asarray(STD))
DRAW = Draw(jnp.zeros((BATCH, *SHAPE)), jnp.eye(BATCH), latent=jnp.asarray(Z))


def fresh():
    """The same key, to be used once."""
    return jax.random.key(5)


def noise_of(out, scale, std=STD):
    """eps, in float64."""
    matrix = np.asarray(out.label, np.float64)
    mixture = np.einsum("ij,j...->i...", matrix, Z.astype(np.float64))
    return (np.asarray(out.image, np.float64) - mixture) / (scale * std)


def is_standard_normal(noise):
    """5,120 draws of N(0, 1), one coordinate and one example like the other, and none twice."""
    assert abs(noise.mean()) < 0.045
    assert abs(noise.std() - 1.0) < 0.035
    assert abs((noise**4).mean() - 3.0) < 0.5
    by_example, by_place = noise.reshape(BATCH, -1).std(axis=1), noise.std(axis=0)
    assert 0.7 < by_example.min() <= by_example.max() < 1.3
    assert 0.55 < by_place.min() <= by_place.max() < 1.55
    together = np.corrcoef(noise.reshape(BATCH, -1)) - np.eye(BATCH)
    assert np.abs(together).max() < 0.45


@pytest.mark.parametrize("alpha", [0.0, 1.0])
def test_the_noise_is_normal_in_units_of_each_coordinate_whatever_the_weights(alpha):
    out = mix(noisy_latents(0.5), alpha=alpha, lam="example")(fresh(), ENV, DRAW)
    plain = mix(latents, alpha=alpha, lam="example")(fresh(), ENV, DRAW)
    np.testing.assert_array_equal(out.label, plain.label)
    assert out.latent is None
    noise = noise_of(out, 0.5)
    is_standard_normal(noise)
    again = mix(noisy_latents(2.0), alpha=alpha, lam="example")(fresh(), ENV, DRAW)
    np.testing.assert_allclose(noise_of(again, 2.0), noise, atol=1e-4)


def test_restyled_latents_take_it_too():
    space = restyle(latent_noise=0.5).keywords["space"]
    out = space.out(fresh(), ENV, DRAW, jnp.asarray(Z))
    is_standard_normal((np.asarray(out, np.float64) - Z) / (0.5 * STD))


def test_what_was_cached_is_augmented_after_decoding_with_a_key_of_its_own():
    keys = []

    def augment(key, image):
        keys.append(key)
        return -image

    space, env = noisy_latents(0.5), ENV._replace(augment=augment)
    points = jnp.asarray(Z)
    straight = space.out(fresh(), ENV, DRAW, points)
    np.testing.assert_array_equal(space.out(fresh(), env, DRAW, points), -straight)
    noise = (np.asarray(straight) - Z) / (0.5 * STD)
    reused = np.asarray(jax.random.normal(jax.random.clone(keys[0]), Z.shape))
    assert abs(np.corrcoef(noise.ravel(), reused.ravel())[0, 1]) < 0.06


def test_none_is_the_space_itself():
    assert noisy_latents(0.0) is latents
    for name in ("varmixup", "varmixup_augmix"):
        assert build(name)[0].vicinity.keywords["space"] is latents


def test_every_vae_has_its_own_unit():
    others = tuple(
        OtherVAE(ENV.encode, ENV.decode, DRAW.latent, jnp.asarray(times * STD)) for times in (3, 9)
    )
    which = np.arange(BATCH) % 3
    out = sample_over(fresh(), mix(noisy_latents(0.5)), ENV, DRAW, others, jnp.asarray(which))
    noise = noise_of(out, 0.5).reshape(BATCH, -1).std(axis=1)
    np.testing.assert_allclose(noise, 3.0**which, rtol=0.3)


def test_the_trainer_hands_over_the_unit_of_each_vae():
    seen = []

    def risk(params, stats, key, draw, frozen):
        seen.append(frozen)
        return RiskOutput(jnp.zeros(()), stats, jnp.zeros(()))

    first, *others = (
        VAE(None, None, SHAPE, latent_std=None if times is None else times * STD)
        for times in (1, 2, None)
    )
    loss = classifier_loss(risk, num_classes=2, augment=None, vae=first, others=tuple(others))
    points = jnp.zeros((3, *SHAPE))
    fixed = {
        "images": jnp.zeros((3, 2, 2, 1), jnp.uint8),
        "labels": jnp.zeros(3, jnp.int32),
        "vae": {},
        "latents": points,
        "others": (({}, points),) * 2,
    }
    loss({}, {}, fresh(), fixed, jnp.arange(2))
    np.testing.assert_array_equal(seen[0].latent_std, STD)
    np.testing.assert_array_equal(seen[0].others[0].latent_std, 2 * STD)
    assert seen[0].others[1].latent_std is None


def test_what_it_refuses():
    with pytest.raises(ValueError, match=r"latent_noise = -0.1: must be >= 0"):
        noisy_latents(-0.1)
    with pytest.raises(ValueError, match=r"env.latent_std = None: latent_noise needs"):
        mix(noisy_latents(0.1))(fresh(), ENV._replace(latent_std=None), DRAW)
