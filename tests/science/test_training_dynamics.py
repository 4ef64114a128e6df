"""Steps, their average and their keys by hand, and what one step of a classifier sees.

The order of the data and the schedule of a run are in `tests/test_loop.py`, several devices in
`tests/test_training_parallel.py`, optimisers and schedules in `test_optimizers.py`.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from varmixup_jax.models.forward import VAE
from varmixup_jax.training.classifier_loss import classifier_loss
from varmixup_jax.training.optim import ema_decay_at
from varmixup_jax.training.step import evaluated, init_state, make_run, make_step
from varmixup_jax.types import identity_augment
from varmixup_jax.vicinal.objective import RiskOutput

EXAMPLES = np.array([3.0, -1.0, 2.0, 5.0, 0.5, -2.0], np.float32)
ORDER = np.array([[0, 1], [2, 3], [4, 5], [5, 0], [3, 1], [2, 4]], np.int32)
RATE = 0.1


def drawn_loss(params, stats, key, fixed, index):
    """Half the squared distance to the examples plus noise from the key; statistics follow."""
    noise = jax.random.uniform(key)
    target = fixed["x"][index] + noise
    value = jnp.mean(0.5 * jnp.square(params["w"][None] - target[:, None]))
    stats = {"mean": 0.5 * stats["mean"] + 0.5 * jnp.mean(target)}
    return value, (stats, {"noise": noise})


def start(tx, ema_decay):
    params = {"w": jnp.array([1.0, -1.0], jnp.float32)}
    return init_state(params, {"mean": jnp.float32(4.0)}, tx, ema_decay=ema_decay)


@pytest.fixture(scope="module")
def trained():
    """`(state, metrics, by hand)` after six steps with an average of decay 0.3."""
    tx = optax.sgd(RATE)
    run = jax.jit(make_run(make_step(drawn_loss, tx, ema_decay=0.3)))
    fixed = {"x": jnp.asarray(EXAMPLES)}

    def train(state, order, count, key):
        return run(state, fixed, jnp.asarray(order), count, key)

    return train, lambda: start(tx, 0.3)


def test_steps_and_their_average_by_hand(trained):
    train, fresh = trained
    state, seen = train(fresh(), ORDER, 6, jax.random.key(0))
    w, mean = np.array([1.0, -1.0]), 4.0
    average = [w.copy(), mean]
    for t, noise in enumerate(np.asarray(seen["noise"], np.float64)):
        target = EXAMPLES[ORDER[t]] + noise
        loss = 0.5 * ((w[None] - target[:, None]) ** 2).mean()
        slope = (w - target.mean()) / 2
        np.testing.assert_allclose(seen["loss"][t], loss, rtol=1e-5)
        np.testing.assert_allclose(seen["grad_norm"][t], np.sqrt((slope**2).sum()), rtol=1e-5)
        w, mean = w - RATE * slope, 0.5 * mean + 0.5 * target.mean()
        # Warm-up: 1/10, 2/11, 3/12, then 4/13 > 0.3.
        decay = [1 / 10, 2 / 11, 3 / 12, 0.3, 0.3, 0.3][t]
        average = [decay * a + (1 - decay) * new for a, new in zip(average, (w, mean), strict=True)]
    np.testing.assert_allclose(state.params["w"], w, rtol=1e-5)
    np.testing.assert_allclose(state.stats["mean"], mean, rtol=1e-5)
    params, stats = evaluated(state)
    np.testing.assert_allclose(params["w"], average[0], rtol=1e-5)
    np.testing.assert_allclose(stats["mean"], average[1], rtol=1e-5)
    assert np.abs(average[0] - w).max() > 1e-3
    assert int(state.step) == 6


def test_the_average_warms_up():
    for step, expected in [(0, 0.1), (9, 10 / 19), (90, 0.91), (8990, 0.999), (10**6, 0.999)]:
        assert float(ema_decay_at(0.999, step)) == pytest.approx(expected, rel=1e-6)


def test_without_an_average_the_parameters_are_evaluated():
    state = start(optax.sgd(RATE), 0.0)
    assert state.ema == ()
    assert evaluated(state) == (state.params, state.stats)


def test_keys_differ_by_step_and_runs_by_seed_and_a_resumed_run_repeats(trained):
    train, fresh = trained
    key = jax.random.key(0)
    straight, seen = train(fresh(), ORDER, 6, key)
    _, other = train(fresh(), ORDER, 6, jax.random.key(1))
    noise = np.concatenate([seen["noise"], other["noise"]])
    assert len(np.unique(noise)) == 12
    first, some = train(fresh(), ORDER, 2, jax.random.clone(key))
    rest = np.concatenate([ORDER[2:], ORDER[:2]])
    resumed, more = train(first, rest, 4, jax.random.clone(key))
    np.testing.assert_array_equal(np.r_[some["noise"][:2], more["noise"][:4]], seen["noise"])
    assert (np.asarray(some["noise"][2:]) == 0).all()  # steps beyond the count are not taken
    jax.tree.map(np.testing.assert_array_equal, straight, resumed)


def test_what_a_step_sees():
    """The batch's images in [0, 1], one-hot labels, their own cached latents, the frozen VAE."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (5, 2, 2, 1)).astype(np.uint8)
    images[0, 0, 0, 0], images[3, 0, 0, 0] = 255, 0
    labels = np.array([2, 0, 1, 2, 1], np.int32)
    latents = rng.normal(size=(5, 3)).astype(np.float16)
    seen = {}

    def risk(params, stats, key, draw, frozen):
        seen.update(
            image=draw.image,
            label=draw.label,
            latent=draw.latent,
            code=frozen.encode(draw.image),
            decoded=frozen.decode(draw.latent),
        )
        return RiskOutput(jnp.float32(1.5), {"new": jnp.float32(2.0)}, jnp.float32(0.25))

    vae = VAE(lambda w, x: (x * w, x * 100.0), lambda w, z: z + w, (3,))
    loss = classifier_loss(risk, num_classes=4, augment=identity_augment, vae=vae)
    fixed = {"images": images, "labels": labels, "latents": latents, "vae": jnp.float32(3.0)}
    fixed = jax.tree.map(jnp.asarray, fixed)
    index = np.array([3, 0, 4], np.int32)
    value, (stats, metrics) = loss({}, {}, jax.random.key(0), fixed, jnp.asarray(index))
    pixels = images[index] / 255.0
    np.testing.assert_allclose(seen["image"], pixels, rtol=1e-6)
    assert (seen["image"].max(), seen["image"].min()) == (1.0, 0.0)
    np.testing.assert_array_equal(seen["label"], np.eye(4)[labels[index]])
    np.testing.assert_array_equal(seen["latent"], latents[index].astype(np.float32))
    np.testing.assert_allclose(seen["code"], pixels * 3, rtol=1e-6)  # the mean, not the spread
    np.testing.assert_allclose(seen["decoded"], latents[index].astype(np.float32) + 3, rtol=1e-6)
    assert (float(value), stats, float(metrics["accuracy"])) == (1.5, {"new": 2.0}, 0.25)
