"""What `tests/science/test_vicinities.py` leaves: shared draws, several partners, refusals."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from varmixup_jax.types import Draw, Env
from varmixup_jax.vicinal import mixing
from varmixup_jax.vicinal.hidden import mix_hidden

ENV = Env(None, lambda image: 2.0 * image, jax.nn.sigmoid)
DRAW = Draw(jnp.linspace(0.0, 1.0, 128).reshape(8, 4, 4, 1), jnp.eye(8))


def test_all_spaces_share_partners_and_weights():
    spaces = (mixing.pixels, mixing.latents, mixing.reconstructions)
    vicinities = (*map(mixing.mix, spaces), mix_hidden(alpha=1.0))
    first, *others = (vicinity(jax.random.key(3), ENV, DRAW).label for vicinity in vicinities)
    for other in others:
        np.testing.assert_array_equal(first, other)


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


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: mixing.mix(alpha=-1.0), "alpha = -1.0: must be >= 0"),
        (lambda: mixing.mix(lam="bach"), "lam = 'bach'.*did you mean batch"),
        (lambda: mixing.mix(partners=0), "partners = 0: must be a whole number >= 1"),
        (lambda: mixing.chain(), "at least one"),
        (lambda: mixing.mix(mixing.latents)(jax.random.key(0), Env(None), DRAW), "needs a VAE"),
    ],
)
def test_refusals(call, message):
    with pytest.raises(ValueError, match=message):
        call()
