"""Several frozen VAEs: each batch, or each example, is sampled over the one that was drawn."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small_net as net
from small_net import BATCH, CACHED, IMAGE, LABEL, decode, encode

from varmixup_jax.config import base_config, freeze, vaes
from varmixup_jax.methods import build
from varmixup_jax.types import Draw, Env
from varmixup_jax.validation import validate
from varmixup_jax.vicinal import hidden, mixing
from varmixup_jax.vicinal.objective import Frozen, empirical_risk
from varmixup_jax.vicinal.several_vaes import OtherVAE, sample_over

NAMES = ("standard", "adversarial", "grid")
Z = {
    "standard": CACHED,
    "adversarial": CACHED[::-1] + 1.0,
    "grid": (2.0 * CACHED).reshape(-1, *net.GRID),  # of another shape
}


def closures(name):
    return (lambda image: encode(name, image)), (lambda latent: decode(name, latent))


ENV = Env(None, *closures("standard"))
DRAW = Draw(jnp.asarray(IMAGE), jnp.asarray(LABEL), latent=jnp.asarray(CACHED))
OTHERS = tuple(OtherVAE(*closures(name), jnp.asarray(Z[name])) for name in NAMES[1:])


def expected(name, matrix):
    """D(M z) in float64."""
    z = np.asarray(Z[name], np.float64)
    return decode(name, np.einsum("ij,j...->i...", matrix, z))


def sample(which, vicinity=None, others=OTHERS):
    vicinity = mixing.mix(mixing.latents) if vicinity is None else vicinity
    return sample_over(jax.random.key(0), vicinity, ENV, DRAW, others, jnp.asarray(which))


def test_a_batch_is_of_the_vae_that_was_drawn_with_the_same_partners_and_weights():
    labels = []
    for index, name in enumerate(NAMES):
        out = sample(index)
        labels.append(np.asarray(out.label))
        np.testing.assert_allclose(out.image, expected(name, labels[-1]), atol=1e-5)
        assert out.latent is None
    assert (labels[0] == labels[1]).all()
    assert (labels[0] == labels[2]).all()


def test_each_example_is_of_the_vae_it_drew():
    which = np.array([0, 1, 2, 2, 1, 0])
    out = sample(which)
    by_name = [expected(name, np.asarray(out.label)) for name in NAMES]
    for i, index in enumerate(which):
        np.testing.assert_allclose(out.image[i], by_name[index][i], atol=1e-5)


def test_what_decodes_nothing_is_sampled_as_it_is():
    assert sample(1, mixing.dirac) is DRAW
    out = sample(1, hidden.mix_hidden((1,)))
    assert out.image is DRAW.image
    assert out.tap is not DRAW.tap


def test_hidden_mixtures_of_decoded_images_are_refused():
    both = mixing.chain(mixing.mix(mixing.latents), hidden.mix_hidden((1,)))
    with pytest.raises(ValueError, match="mixes hidden activations takes one VAE"):
        sample(1, both)


@pytest.mark.parametrize("drawn", ["batch", "example"])
def test_every_step_draws_one_of_all_for_all_terms(drawn):
    chosen = []

    def watched(key, env, draw):
        out = mixing.mix(mixing.latents, alpha=0.0)(key, env, draw)
        return out._replace(image=jax.lax.stop_gradient(out.image))

    term = build("varmixup")[0]._replace(vicinity=watched)
    risk = empirical_risk((term, term), spied)
    frozen = Frozen(*closures("standard"), others=OTHERS, drawn=drawn)
    images = [decode(name, np.asarray(Z[name], np.float64)) for name in NAMES]

    @jax.jit
    def seen(key):
        SEEN.clear()
        risk(net.PARAMS, net.STATS, key, DRAW, frozen)
        return list(SEEN)

    for seed in range(60):
        first, second = seen(jax.random.key(seed))
        np.testing.assert_array_equal(first, second)
        rows = [
            [np.abs(np.asarray(first)[i] - image[i]).max() < 1e-5 for image in images]
            for i in range(BATCH)
        ]
        assert (np.sum(rows, axis=1) == 1).all()
        chosen.append(np.argmax(rows, axis=1))
    chosen = np.array(chosen)
    assert (np.ptp(chosen, axis=1) == 0).all() == (drawn == "batch")
    for index in range(3):  # each of the three equally often: 60 draws, or 360
        assert abs((chosen == index).mean() - 1 / 3) < (0.2 if drawn == "batch" else 0.08)


SEEN = []


def spied(params, stats, image, *, train, tap):
    if train:
        SEEN.append(image)
    return net.apply(params, stats, image, train=train, tap=tap)


def configured(*others):
    c = base_config()
    c.vae.others = others
    return c


def test_each_is_the_section_with_its_fields_changed():
    c = configured("width=8 gamma=1", "latent=vector latent_size=64")
    c.vae.blocks = 2
    vae = freeze(c).vae
    first, second, third = vaes(vae)
    assert first is vae
    assert (second.width, second.gamma, second.blocks) == (8, 1.0, 2)
    assert (third.latent, third.latent_size, third.width) == ("vector", 64, vae.width)
    assert second.others == third.others == ()
    plain = freeze(base_config()).vae
    assert vaes(plain) == (plain,)


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ("widht=8", "config.vae.others: widht=8: must be field=value, of bandwidth, "),
        ("width", "config.vae.others: width: must be"),
        ("width=x", "config.vae.others: width=x: must be of type int"),
        ("store=/a", "config.vae.others: store=/a: must be field=value"),
        ("width=0", "config.vae.others: config.vae.width = 0: "),
        ("dtype=float16", "config.vae.others: config.vae.dtype = 'float16': "),
    ],
)
def test_what_it_refuses(words, text):
    with pytest.raises(ValueError) as refusal:
        validate(configured(words), 1)
    assert str(refusal.value).startswith(text)
