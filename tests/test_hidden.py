"""Mixing and noise in hidden layers: at one stage, the drawn one; their laws are in `tests/science`."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from varmixup_jax.types import Draw, Env
from varmixup_jax.vicinal import hidden
from varmixup_jax.vicinal.mixing import chain, dirac

BATCH = 8
ENV = Env(logits=None)
VALUES = jnp.linspace(0.5, 2.0, BATCH * 2 * 2 * 5).reshape(BATCH, 2, 2, 5)
DRAW = Draw(jnp.zeros((BATCH, 4, 4, 1)), jnp.eye(BATCH))


def taps(vicinity):
    """`key -> (stage, label, what the taps of stages 0 to 3 make of VALUES)`, compiled."""

    @jax.jit
    def see(key):
        out = vicinity(key, ENV, DRAW)
        return out.stage, out.label, jnp.stack([out.tap(stage, VALUES) for stage in range(4)])

    return see


def key(seed):
    return jax.random.key(seed, impl="rbg")


def test_mix_hidden_mixes_exactly_one_stage():
    see, seen = taps(hidden.mix_hidden((0, 1, 2))), set()
    for seed in range(8):
        stage, label, after = see(key(seed))
        mixed = np.einsum("ij,j...->i...", np.asarray(label, np.float64), VALUES)
        for k in range(4):
            np.testing.assert_allclose(after[k], mixed if k == stage else VALUES, atol=1e-5)
        seen.add(int(stage))
    assert seen == {0, 1, 2}


def test_noise_at_exactly_one_stage_the_same_for_the_same_key():
    see, seen = taps(hidden.noisy_hidden((0, 1, 2))), set()
    for seed in range(8):
        stage, label, after = see(key(seed))
        changed = [s for s in range(4) if (after[s] != VALUES).any()]
        assert changed == [int(stage)]
        np.testing.assert_array_equal(after, see(key(seed))[2])
        np.testing.assert_array_equal(label, DRAW.label)
        seen |= set(changed)
    assert seen == {0, 1, 2}


def test_a_chain_mixes_and_adds_noise_at_the_same_stage():
    mixing, noise = hidden.mix_hidden((0, 1, 2)), hidden.noisy_hidden((1, 2), additive=0.5)
    both, alone = taps(chain(mixing, noise)), taps(mixing)
    for seed in range(6):
        stage, label, after = both(key(seed))
        drawn, mixed_label, mixed = alone(jax.random.fold_in(key(seed), 0))
        assert int(stage) == int(drawn)
        np.testing.assert_array_equal(label, mixed_label)
        noisy = np.abs(np.asarray(after - mixed)).max(axis=(1, 2, 3, 4)) > 1e-3
        assert noisy.tolist() == [s == int(stage) and s != 0 for s in range(4)]


def test_noise_keeps_the_dtype_and_none_is_dirac():
    narrow = VALUES.astype(jnp.bfloat16)
    assert hidden.add_noise(key(0), narrow, 0.1, 0.1).dtype == jnp.bfloat16
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
