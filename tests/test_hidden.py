"""Mixing and noise in hidden layers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from varmixup_jax.types import Draw, Env
from varmixup_jax.vicinal import hidden
from varmixup_jax.vicinal.mixing import chain, dirac, draw_pairing

BATCH = 8
ENV = Env(logits=None)
VALUES = jnp.linspace(0.5, 2.0, BATCH * 2 * 2 * 5).reshape(BATCH, 2, 2, 5)


@pytest.fixture
def draw():
    image = jax.random.uniform(jax.random.key(7), (BATCH, 4, 4, 1))
    return Draw(image, jax.nn.one_hot(jnp.arange(BATCH) % 3, 3))


@pytest.mark.parametrize("stages", [(0,), (1,), (0, 1, 2)])
def test_mix_hidden_mixes_exactly_one_stage(draw, stages):
    for seed in range(6):
        out = hidden.mix_hidden(stages)(jax.random.key(seed), ENV, draw)
        pair_key = jax.random.split(jax.random.key(seed), 3)[0]
        partners, weights = draw_pairing(pair_key, BATCH, 2.0)
        values = jax.random.normal(jax.random.key(9), (BATCH, 2, 2, 5))
        w = weights[:, None, None, None]
        mixed = w * values + (1 - w) * values[partners]
        changed = []
        for stage in range(4):
            after = out.tap(stage, values)
            if np.allclose(after, values):
                continue
            np.testing.assert_allclose(after, mixed, rtol=1e-5, atol=1e-6)
            changed.append(stage)
        assert len(changed) == 1
        assert changed[0] in stages
        np.testing.assert_array_equal(out.image, draw.image)


def test_mix_hidden_draws_stages_uniformly(draw):
    def chosen(key):
        tap = hidden.mix_hidden((0, 1, 2))(key, ENV, draw).tap
        values = draw.image
        return jnp.stack([jnp.any(tap(s, values) != values) for s in range(3)])

    counts = np.asarray(jax.vmap(chosen)(jax.random.split(jax.random.key(0), 900))).sum(axis=0)
    assert abs(counts - 300).max() < 5 * np.sqrt(900 * 2 / 9)


@pytest.mark.parametrize(("additive", "multiplicative"), [(0.3, 0.0), (0.0, 0.3), (0.3, 0.2)])
def test_noise_has_the_stated_mean_and_scale(additive, multiplicative):
    wide = jnp.full((200, 200), 2.0)
    noisy = np.asarray(hidden.add_noise(jax.random.key(0), wide, additive, multiplicative))
    variance = additive**2 + (2.0 * multiplicative) ** 2
    assert abs(noisy.mean() - 2.0) < 0.01
    assert abs(noisy.var() / variance - 1) < 0.05
    for wrong in (2 / 3, 3 / 2):
        assert abs(noisy.var() / (variance * wrong) - 1) > 0.2
    assert (
        hidden.add_noise(jax.random.key(0), wide.astype(jnp.bfloat16), 0.1, 0.1).dtype == "bfloat16"
    )


def taps(vicinity, draw):
    """`key -> (stage, label, what the taps of stages 0 to 3 make of VALUES)`, compiled."""

    @jax.jit
    def see(key):
        out = vicinity(key, ENV, draw)
        return out.stage, out.label, jnp.stack([out.tap(stage, VALUES) for stage in range(4)])

    return see


def test_noise_at_exactly_one_stage_the_same_for_the_same_key(draw):
    see, seen = taps(hidden.noisy_hidden((0, 1, 2)), draw), set()
    for seed in range(8):
        stage, label, after = see(jax.random.key(seed))
        changed = [s for s in range(4) if (after[s] != VALUES).any()]
        assert changed == [int(stage)]
        np.testing.assert_array_equal(after, see(jax.random.key(seed))[2])
        np.testing.assert_array_equal(label, draw.label)
        seen |= set(changed)
    assert seen == {0, 1, 2}


def test_a_chain_mixes_and_adds_noise_at_the_same_stage(draw):
    mixing, noise = hidden.mix_hidden((0, 1, 2)), hidden.noisy_hidden((1, 2), additive=0.5)
    both, alone = taps(chain(mixing, noise), draw), taps(mixing, draw)
    for seed in range(6):
        stage, label, after = both(jax.random.key(seed))
        drawn, mixed_label, mixed = alone(jax.random.fold_in(jax.random.key(seed), 0))
        assert int(stage) == int(drawn)
        np.testing.assert_array_equal(label, mixed_label)
        noisy = np.abs(np.asarray(after - mixed)).max(axis=(1, 2, 3, 4)) > 1e-3
        assert noisy.tolist() == [s == int(stage) and s != 0 for s in range(4)]


def test_no_noise_is_dirac():
    assert hidden.noisy_hidden(additive=0.0, multiplicative=0.0) is dirac


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: hidden.mix_hidden(()), "stages"),
        (lambda: hidden.mix_hidden((0, 0)), "distinct"),
        (lambda: hidden.noisy_hidden((-1,)), "stages = \\(-1,\\)"),
        (lambda: hidden.noisy_hidden(additive=-0.1), "additive = -0.1: must be >= 0"),
        (lambda: hidden.noisy_hidden(multiplicative=-0.1), "multiplicative = -0.1"),
    ],
)
def test_refusals(call, message):
    with pytest.raises(ValueError, match=message):
        call()
