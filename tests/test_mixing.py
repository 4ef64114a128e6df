import jax
import jax.numpy as jnp
import numpy as np
import pytest

from varmixup_jax.types import Draw, Env
from varmixup_jax.vicinal import mixing
from varmixup_jax.vicinal.hidden import mix_hidden

BATCH, CLASSES = 8, 3


def encode(image):
    return image.reshape(image.shape[0], -1)[:, :4] * 2.0


def decode(latent):
    return jax.nn.sigmoid(jnp.tile(latent, (1, 4)).reshape(-1, 4, 4, 1))


ENV = Env(logits=None, encode=encode, decode=decode)


@pytest.fixture
def draw():
    image = jax.random.uniform(jax.random.key(7), (BATCH, 4, 4, 1))
    label = jax.nn.one_hot(jnp.arange(BATCH) % CLASSES, CLASSES)
    return Draw(image, label)


def test_all_spaces_share_partners_and_weights(draw):
    labels = [
        mixing.mix(space)(jax.random.key(3), ENV, draw).label
        for space in (mixing.pixels, mixing.latents, mixing.reconstructions)
    ]
    labels.append(mix_hidden(alpha=1.0)(jax.random.key(3), ENV, draw).label)
    for other in labels[1:]:
        np.testing.assert_array_equal(labels[0], other)


def test_lam_follows_the_beta_distribution():
    for alpha in (0.4, 1.0, 2.0):
        lam = np.asarray(mixing.draw_lam(jax.random.key(1), 20_000, alpha, "example"))
        variance = 1 / (4 * (2 * alpha + 1))
        assert abs(lam.mean() - 0.5) < 0.01
        assert abs(lam.var() / variance - 1) < 0.05
        for wrong in (2 / 3, 3 / 2):
            assert abs(lam.var() / (variance * wrong) - 1) > 0.2


@pytest.mark.parametrize(("partners", "alpha"), [(1, 1.0), (2, 1.0), (3, 0.5)])
def test_weights_of_several_partners_are_dirichlet(partners, alpha):
    # A batch of one-hot labels shows the weights; each is an entry of Dirichlet(alpha, ..., alpha).
    batch = 2000
    many = Draw(jnp.zeros((batch, 1, 1, 1)), jnp.eye(batch))
    vicinity = mixing.mix(mixing.pixels, alpha=alpha, lam="example", partners=partners)
    label = np.asarray(vicinity(jax.random.key(2), ENV, many).label)
    np.testing.assert_allclose(label.sum(axis=1), 1.0, rtol=1e-5)
    assert np.bincount((label > 0).sum(axis=1)).argmax() == partners + 1
    own, count = np.diag(label), partners + 1
    variance = (1 / count) * (1 - 1 / count) / (count * alpha + 1)
    assert abs(own.mean() - 1 / count) < 0.025
    assert abs(own.var() / variance - 1) < 0.12
    last = np.sort(label, axis=1)[:, -count]
    assert own.mean() > last.mean()


def test_two_partners_are_the_mix_with_one_and_a_further_one(draw):
    one = mixing.mix(mixing.pixels)(jax.random.key(0), ENV, draw)
    two = mixing.mix(mixing.pixels, partners=2)(jax.random.key(0), ENV, draw)
    key = jax.random.fold_in(jax.random.split(jax.random.key(0), 3)[0], 2)
    further, lam = mixing.draw_pairing(key, BATCH, 1.0, "batch", 2)
    w = lam[:, None, None, None]
    np.testing.assert_allclose(two.image, w * one.image + (1 - w) * draw.image[further], atol=1e-6)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: mixing.mix(alpha=-1.0), "alpha = -1.0: must be >= 0"),
        (lambda: mixing.mix(lam="bach"), "lam = 'bach'.*did you mean batch"),
        (lambda: mixing.mix(partners=0), "partners = 0: must be a whole number >= 1"),
        (lambda: mixing.chain(), "at least one"),
    ],
)
def test_refusals(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_latents_without_a_vae(draw):
    with pytest.raises(ValueError, match="needs a VAE"):
        mixing.mix(mixing.latents)(jax.random.key(0), Env(logits=None), draw)
