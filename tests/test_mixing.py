import jax
import jax.numpy as jnp
import numpy as np
import pytest

from varmixup_jax.types import Draw, Env
from varmixup_jax.vicinal import mixing

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


def pairing(key, alpha=1.0, lam="batch"):
    return mixing.draw_pairing(jax.random.split(key, 3)[0], BATCH, alpha, lam)


@pytest.mark.parametrize("lam", mixing.LAM_KINDS)
def test_mixup_against_numpy(draw, lam):
    partners, weights = map(np.asarray, pairing(jax.random.key(0), lam=lam))
    out = mixing.mix(mixing.pixels, lam=lam)(jax.random.key(0), ENV, draw)
    x, y = np.asarray(draw.image), np.asarray(draw.label)
    w = weights[:, None, None, None]
    np.testing.assert_allclose(out.image, w * x + (1 - w) * x[partners], rtol=1e-5, atol=1e-6)
    w = weights[:, None]
    np.testing.assert_allclose(out.label, w * y + (1 - w) * y[partners], rtol=1e-5, atol=1e-6)
    assert (len(np.unique(weights)) == 1) == (lam == "batch")
    assert sorted(partners) == list(range(BATCH))


def test_varmixup_decodes_the_interpolated_means(draw):
    partners, weights = pairing(jax.random.key(0))
    out = mixing.mix(mixing.latents)(jax.random.key(0), ENV, draw)
    z = encode(draw.image)
    w = weights[:, None]
    np.testing.assert_allclose(out.image, decode(w * z + (1 - w) * z[partners]), rtol=1e-5)


def test_mixup_r_readings(draw):
    partners, weights = pairing(jax.random.key(0))
    w = weights[:, None, None, None]
    r = decode(encode(draw.image))
    first = mixing.mix(mixing.reconstructions)(jax.random.key(0), ENV, draw).image
    np.testing.assert_allclose(first, w * r + (1 - w) * r[partners], rtol=1e-5)
    x = draw.image
    other = mixing.mix(mixing.reconstructed_mix)(jax.random.key(0), ENV, draw).image
    np.testing.assert_allclose(other, decode(encode(w * x + (1 - w) * x[partners])), rtol=1e-4)


def test_cached_latents_are_used_and_their_decodings_augmented(draw):
    cached = draw._replace(latent=encode(draw.image) + 1.0)
    env = ENV._replace(augment=lambda key, image: image[:, ::-1])
    out = mixing.mix(mixing.latents, alpha=0.0)(jax.random.key(0), env, cached)
    np.testing.assert_allclose(out.image, decode(cached.latent)[:, ::-1], rtol=1e-6)
    assert out.latent is None
    plain = mixing.mix(mixing.latents, alpha=0.0)(jax.random.key(0), env, draw)
    np.testing.assert_allclose(plain.image, decode(encode(draw.image)), rtol=1e-6)


def test_all_spaces_share_partners_and_weights(draw):
    labels = [
        mixing.mix(space)(jax.random.key(3), ENV, draw).label
        for space in (mixing.pixels, mixing.latents, mixing.reconstructions)
    ]
    labels.append(mixing.mix_hidden(alpha=1.0)(jax.random.key(3), ENV, draw).label)
    for other in labels[1:]:
        np.testing.assert_array_equal(labels[0], other)


@pytest.mark.parametrize("stages", [(0,), (1,), (0, 1, 2)])
def test_mix_hidden_mixes_exactly_one_stage(draw, stages):
    for seed in range(6):
        out = mixing.mix_hidden(stages)(jax.random.key(seed), ENV, draw)
        partners, weights = pairing(jax.random.key(seed), alpha=2.0)
        hidden = jax.random.normal(jax.random.key(9), (BATCH, 2, 2, 5))
        w = weights[:, None, None, None]
        mixed = w * hidden + (1 - w) * hidden[partners]
        changed = []
        for stage in range(4):
            after = out.tap(stage, hidden)
            if np.allclose(after, hidden):
                continue
            np.testing.assert_allclose(after, mixed, rtol=1e-5, atol=1e-6)
            changed.append(stage)
        assert len(changed) == 1
        assert changed[0] in stages
        np.testing.assert_array_equal(out.image, draw.image)


def test_mix_hidden_draws_stages_uniformly(draw):
    def chosen(key):
        tap = mixing.mix_hidden((0, 1, 2))(key, ENV, draw).tap
        hidden = draw.image
        return jnp.stack([jnp.any(tap(s, hidden) != hidden) for s in range(3)])

    counts = np.asarray(jax.vmap(chosen)(jax.random.split(jax.random.key(0), 900))).sum(axis=0)
    assert abs(counts - 300).max() < 5 * np.sqrt(900 * 2 / 9)


def test_lam_follows_the_beta_distribution():
    for alpha in (0.4, 1.0, 2.0):
        lam = np.asarray(mixing.draw_lam(jax.random.key(1), 20_000, alpha, "example"))
        variance = 1 / (4 * (2 * alpha + 1))
        assert abs(lam.mean() - 0.5) < 0.01
        assert abs(lam.var() / variance - 1) < 0.05
        for wrong in (2 / 3, 3 / 2):
            assert abs(lam.var() / (variance * wrong) - 1) > 0.2


def test_chain_applies_in_order(draw):
    def add(key, env, draw):
        return draw._replace(image=draw.image + 1.0)

    def double(key, env, draw):
        return draw._replace(image=draw.image * 2.0)

    out = mixing.chain(add, double)(jax.random.key(0), ENV, draw)
    np.testing.assert_allclose(out.image, (draw.image + 1) * 2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: mixing.mix(alpha=-1.0), "alpha = -1.0: must be >= 0"),
        (lambda: mixing.mix(lam="bach"), "lam = 'bach'.*did you mean batch"),
        (lambda: mixing.mix_hidden(()), "stages"),
        (lambda: mixing.mix_hidden((0, 0)), "distinct"),
        (lambda: mixing.chain(), "at least one"),
    ],
)
def test_refusals(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_latents_without_a_vae(draw):
    with pytest.raises(ValueError, match="needs a VAE"):
        mixing.mix(mixing.latents)(jax.random.key(0), Env(logits=None), draw)
