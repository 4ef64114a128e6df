"""PGD and the attacks of training against the papers, step by step in float64."""

import math
from functools import partial

import attack_oracles as oracles
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from varmixup_jax import losses
from varmixup_jax.attacks.pgd import attack, gaussian_start, l2, linf, pgd, uniform_start
from varmixup_jax.methods import METHODS, build
from varmixup_jax.types import Draw, Env

B, SHAPE, K, HIDDEN = 4, (2, 2, 3), 4, 5
SIZE = math.prod(SHAPE)
RNG = np.random.default_rng(0)
FIRST = RNG.normal(size=(SIZE, HIDDEN)).astype(np.float32)
SECOND = RNG.normal(size=(HIDDEN, K)).astype(np.float32)
IMAGE = RNG.uniform(size=(B, *SHAPE)).astype(np.float32)
INDEX = np.array([0, 3, 1, 2])
LABEL = np.eye(K, dtype=np.float32)[INDEX]
BALLS = {"linf": linf, "l2": l2}


def logits_of(image):
    """A network of two layers, small enough to differentiate by hand."""
    return jnp.tanh((image.reshape(len(image), -1) - 0.5) @ FIRST) @ SECOND


def by_hand(distance):
    """`image [SIZE] -> (loss, gradient)` in float64; `distance` maps logits to (loss, gradient)."""

    def value_and_grad(image):
        hidden = np.tanh((image - 0.5) @ FIRST.astype(np.float64))
        value, slope = distance(hidden @ SECOND.astype(np.float64))
        return value, FIRST.astype(np.float64) @ (
            (1 - hidden**2) * (SECOND.astype(np.float64) @ slope)
        )

    return value_and_grad


def softmax(f):
    return np.exp(f - f.max()) / np.exp(f - f.max()).sum()


def ce_by_hand(y, f):
    p = softmax(f)
    return -math.log(p[y]), p - np.eye(K)[y]


def kl_by_hand(p, f):
    """KL(p || softmax f) and its gradient with respect to f."""
    q = softmax(f)
    return float((p * np.log(p / q)).sum()), q - p


def cross_entropy(image):
    return losses.cross_entropy(logits_of(image), LABEL)


DELTA = (0.05 * RNG.normal(size=IMAGE.shape)).astype(np.float32)


def given_start(key, ball, shape):
    """Starts outside of the smaller balls, so that the first projection counts."""
    del key, ball
    return jnp.asarray(DELTA).reshape(shape)


def paths(norm, distances, **settings):
    """Of every example, the float64 points and losses of PGD from `given_start`."""
    return [
        oracles.pgd_path(
            norm,
            IMAGE[i].ravel().astype(np.float64),
            by_hand(distances[i]),
            delta=DELTA[i].ravel().astype(np.float64),
            **settings,
        )
        for i in range(B)
    ]


CE = [partial(ce_by_hand, y) for y in INDEX]


@pytest.mark.parametrize(
    ("norm", "radius", "step_size"),
    [("linf", 0.1, 0.04), ("linf", 0.6, 0.25), ("l2", 0.15, 0.1), ("l2", 1.5, 0.5)],
)
def test_pgd_step_by_step(key, norm, radius, step_size):
    """Step size, projection and clipping: the end after 0, 1, 2 and 5 steps."""
    expected = paths(norm, CE, radius=radius, step_size=step_size, steps=5)

    @jax.jit
    def ends(key):
        settings = {"ball": BALLS[norm](radius), "step_size": step_size, "start": given_start}
        return [pgd(key, IMAGE, cross_entropy, steps=steps, **settings) for steps in (0, 1, 2, 5)]

    for steps, found in zip((0, 1, 2, 5), ends(key), strict=True):
        points = [points[steps].reshape(SHAPE) for points, _ in expected]
        np.testing.assert_allclose(found.image, points, atol=2e-6, err_msg=f"{steps} steps")
        values = [values[steps] for _, values in expected]
        np.testing.assert_allclose(found.loss, values, rtol=2e-5)
    ended = np.stack([points[-1] for points, _ in expected])
    moved = ended - IMAGE.reshape(B, -1)
    size = np.abs(moved).max(axis=1) if norm == "linf" else np.linalg.norm(moved, axis=1)
    if radius > 0.5:  # the larger balls meet the pixels' interval, the smaller their own edge
        assert np.any(ended == 0)
        assert np.any(ended == 1)
    else:
        assert np.all(size < radius * (1 + 1e-9))
        assert np.any(size > radius * (1 - 1e-9))


def test_pgd_keeps_the_best_or_the_last_iterate(key):
    """Steps too long for the ball: the loss falls again."""
    settings = {"radius": 0.6, "step_size": 0.6, "steps": 6}
    expected = paths("linf", CE, **settings)
    best = [int(np.argmax(values)) for _, values in expected]
    assert any(0 < index < 6 for index in best)

    @jax.jit
    def both(key):
        run = partial(pgd, key, IMAGE, cross_entropy, ball=linf(0.6), steps=6, step_size=0.6)
        return run(start=given_start), run(start=given_start, keep="best")

    last, kept = both(key)
    for i, (points, values) in enumerate(expected):
        np.testing.assert_allclose(last.image[i].ravel(), points[-1], atol=2e-6)
        np.testing.assert_allclose(last.loss[i], values[-1], rtol=2e-5)
        np.testing.assert_allclose(kept.image[i].ravel(), points[best[i]], atol=2e-6)
        np.testing.assert_allclose(kept.loss[i], values[best[i]], rtol=2e-5)


def test_pgd_restarts_from_points_of_their_own_and_keeps_the_best_for_each_example(key):
    starts = [
        np.asarray(uniform_start(k, linf(0.3), IMAGE.shape)) for k in jax.random.split(key, 4)
    ]
    expected = []
    for i in range(B):
        ends = []
        for start in starts:
            points, values = oracles.pgd_path(
                "linf",
                IMAGE[i].ravel().astype(np.float64),
                by_hand(CE[i]),
                delta=start[i].ravel().astype(np.float64),
                radius=0.3,
                step_size=0.2,
                steps=2,
            )
            ends.append((values[-1], points[-1]))
        winner = max(range(4), key=lambda s: ends[s][0])
        expected.append((winner, *ends[winner]))
    assert len({winner for winner, *_ in expected}) > 1
    run = partial(pgd, ball=linf(0.3), steps=2, step_size=0.2, restarts=4)
    found = jax.jit(lambda key: run(key, IMAGE, cross_entropy))(jax.random.clone(key))
    np.testing.assert_allclose(found.loss, [value for _, value, _ in expected], rtol=2e-5)
    points = np.stack([point for *_, point in expected])
    np.testing.assert_allclose(found.image.reshape(B, -1), points, atol=2e-6)


def test_trades_attack_raises_the_divergence_from_the_clean_prediction(key):
    clean = [softmax(by_hand_logits(IMAGE[i])) for i in range(B)]
    expected = paths(
        "linf", [partial(kl_by_hand, p) for p in clean], radius=8 / 255, step_size=0.007, steps=3
    )
    vicinity = attack(
        losses.kl_to_clean, ball=linf(8 / 255), steps=3, step_size=0.007, start=given_start
    )
    found = jax.jit(lambda key: vicinity(key, Env(logits_of), Draw(IMAGE, LABEL)).image)(key)
    points = np.stack([points[-1] for points, _ in expected])
    np.testing.assert_allclose(found.reshape(B, -1), points, atol=2e-6)


def by_hand_logits(image):
    f = (image.ravel().astype(np.float64) - 0.5) @ FIRST.astype(np.float64)
    return np.tanh(f) @ SECOND.astype(np.float64)


def agrees_with_normal(sample, sigma):
    """Kolmogorov's test at 1 % against N(0, sigma^2)."""
    ordered = np.sort(np.ravel(sample).astype(np.float64)) / sigma
    cumulative = np.array([0.5 * (1 + math.erf(x / math.sqrt(2))) for x in ordered])
    rank = (np.arange(ordered.size) + 0.5) / ordered.size
    return np.abs(cumulative - rank).max() < 1.63 / math.sqrt(ordered.size)


def test_trades_starts_from_normal_noise_of_one_thousandth(key):
    """At grey, where nothing is clipped; a noise 10 % wider or one that is uniform is refused."""
    grey = np.full((1, 80, 50, 1), 0.5, np.float32)
    start = build("trades", steps=0)[1].vicinity
    flat = Env(lambda image: jnp.zeros((len(image), K)))
    delta = start(key, flat, Draw(grey, LABEL[:1])).image - 0.5
    assert agrees_with_normal(delta, 0.001)
    assert not agrees_with_normal(1.1 * delta, 0.001)
    scale = 0.001 * math.sqrt(3)
    assert not agrees_with_normal(np.linspace(-scale, scale, delta.size), 0.001)


def test_training_attacks_have_the_published_budgets():
    """Madry et al. 2018; Zhang et al. 2019; Lamb et al. 2019."""
    assert METHODS["at"].settings == {"eps": 8 / 255, "step_size": 2 / 255, "steps": 10}
    trades = {"beta": 6.0, "eps": 8 / 255, "step_size": 0.007, "steps": 10, "start_sigma": 0.001}
    assert METHODS["trades"].settings == trades
    iat = METHODS["iat"].settings
    assert (iat["eps"], iat["step_size"], iat["steps"]) == (8 / 255, 2 / 255, 7)
    for name, terms in (("at", build("at")), ("iat", build("iat")[1:])):
        assert "start=<function uniform_start" in repr(terms[0].vicinity), name


@pytest.mark.parametrize("norm", BALLS)
def test_agrees_with_foolbox(key, norm):
    foolbox = pytest.importorskip("foolbox", reason="foolbox is an optional oracle")
    eagerpy = pytest.importorskip("eagerpy")
    kinds = {
        "linf": foolbox.attacks.LinfProjectedGradientDescentAttack,
        "l2": foolbox.attacks.L2ProjectedGradientDescentAttack,
    }
    run = partial(pgd, ball=BALLS[norm](0.3), steps=6, step_size=0.1, start=gaussian_start(0.0))
    ours = jax.jit(lambda key: run(key, IMAGE, cross_entropy))(key)
    theirs = kinds[norm](abs_stepsize=0.1, steps=6, random_start=False).run(
        foolbox.models.JAXModel(jax.jit(logits_of), bounds=(0, 1)),
        eagerpy.astensor(jnp.asarray(IMAGE)),
        foolbox.criteria.Misclassification(eagerpy.astensor(jnp.asarray(INDEX))),
        epsilon=0.3,
    )
    np.testing.assert_allclose(ours.image, theirs.raw, atol=1e-5)
