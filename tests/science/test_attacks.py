"""PGD, Auto-PGD, DLR and adversarial accuracy against the papers, step by step in float64."""

import math
from functools import partial

import attack_oracles as oracles
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from varmixup_jax import losses
from varmixup_jax.attacks.apgd import apgd, checkpoints
from varmixup_jax.attacks.pgd import attack, gaussian_start, l2, linf, pgd, uniform_start
from varmixup_jax.evaluation.robustness import apgd_correct, pgd_correct, worst_case
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


def dlr_by_hand(y, f):
    first, _, third = np.argsort(-f)[:3]
    other = max((k for k in range(len(f)) if k != y), key=lambda k: f[k])
    above, spread, unit = f[y] - f[other], f[first] - f[third], np.eye(len(f))
    slope = -(unit[y] - unit[other]) / spread + above * (unit[first] - unit[third]) / spread**2
    return -above / spread, slope


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


def test_checkpoints_are_the_published_ones():
    assert checkpoints(100) == (0, 22, 41, 57, 70, 80, 87, 93, 99)
    for steps in (1, 2, 7, 20, 50, 75):
        assert list(checkpoints(steps)) == sorted(set(oracles.apgd_checkpoints(steps)))


def bumps(rng, count, size, scale):
    """Images, and a loss sum sin(a x + 1) with slopes of its own for each example."""
    image = rng.uniform(size=(count, 1, 1, size)).astype(np.float32)
    slope = (scale * rng.normal(size=(count, 1, 1, size))).astype(np.float32)

    def loss(image):
        return jnp.sum(jnp.sin(jnp.asarray(slope) * image + 1.0), axis=(1, 2, 3))

    def value_and_grad(index, point):
        a = slope[index].ravel().astype(np.float64)
        return np.sin(a * point + 1).sum(), a * np.cos(a * point + 1)

    return image, loss, value_and_grad


# What halves the step: condition 1 (few rises) alone, condition 2 (no better since) alone, or both.
FEW, STUCK = (True, False), (False, True)


@pytest.mark.parametrize(
    ("norm", "size", "scale", "radius", "rho", "alone"),
    [
        ("linf", 6, 9.0, 0.3, 0.75, [FEW]),
        ("linf", 6, 9.0, 0.3, 0.0, [STUCK]),  # no share of rises is too few
        ("l2", 2, 5.0, 0.1, 0.75, [FEW, STUCK]),
    ],
)
def test_apgd_follows_algorithm_1(key, norm, size, scale, radius, rho, alone):
    image, loss, value_and_grad = bumps(np.random.default_rng(1), 60, size, scale)
    run = partial(apgd, ball=BALLS[norm](radius), steps=20, rho=rho, start=flat_start)
    found = jax.jit(lambda key: run(key, image, loss))(key)
    halved = set()
    for i in range(len(image)):
        point, value, conditions = oracles.apgd(
            norm,
            image[i].ravel().astype(np.float64),
            partial(value_and_grad, i),
            delta=np.full(size, 0.01),
            radius=radius,
            steps=20,
            rho=rho,
        )
        halved.update(conditions)
        np.testing.assert_allclose(found.loss[i], value, rtol=1e-5, atol=1e-5, err_msg=str(i))
        # Around a maximum the loss is flat: the point is known to the root of its rounding.
        np.testing.assert_allclose(found.image[i].ravel(), point, atol=1e-3, err_msg=str(i))
    assert halved >= {*alone, (False, False)}


def flat_start(key, ball, shape):
    del key, ball
    return jnp.full(shape, 0.01, jnp.float32)


LOGITS = np.array(
    [
        [3.0, 1.0, -1.0, 0.0],  # right, and sure: -(3 - 1) / (3 - 0)
        [3.0, 1.0, -1.0, 0.0],  # the last class: -(0 - 3) / (3 - 0)
        [0.5, 0.25, 2.0, 1.75],
        [-7.0, -4.0, -9.0, -5.5],
    ]
)


def test_dlr_by_hand():
    y = np.array([0, 3, 3, 1])
    label = jnp.eye(4)[y]
    value = losses.dlr(jnp.asarray(LOGITS, jnp.float32), label)
    np.testing.assert_allclose(value, [-2 / 3, 1.0, 0.25 / 1.5, -1.5 / 3], rtol=1e-6)
    grad = jax.grad(lambda f: losses.dlr(f, label).sum())(jnp.asarray(LOGITS, jnp.float32))
    for row, target, found in zip(LOGITS, y, grad, strict=True):
        np.testing.assert_allclose(found, dlr_by_hand(target, row)[1], rtol=1e-5, atol=1e-7)


def test_dlr_is_invariant_and_positive_exactly_where_it_is_wrong():
    f = np.random.default_rng(2).normal(size=(50, 5)).astype(np.float32)
    label = np.eye(5, dtype=np.float32)[np.arange(50) % 5]
    found = losses.dlr(f, label)
    np.testing.assert_allclose(losses.dlr(100 * f + 7, label), found, rtol=1e-3, atol=1e-4)
    np.testing.assert_array_equal(found > 0, f.argmax(axis=1) != np.arange(50) % 5)
    assert np.isfinite(losses.dlr(np.zeros((1, 3), np.float32), np.eye(3, dtype=np.float32)[:1]))


def test_a_clean_mistake_counts_even_where_no_attacked_image_is_wrong(key):
    """Wrong at the clean image alone: an attack that looked at its ends only would miss it."""
    image = np.full((2, 1, 1, 1), 0.5, np.float32)
    label = np.eye(2, dtype=np.float32)[[0, 0]]

    def logits(x):
        wrong = (jnp.abs(x - 0.5) < 1e-6).reshape(-1, 1) & jnp.array([[True], [False]])
        return jnp.where(wrong, jnp.array([[0.0, 1.0]]), jnp.array([[1.0, 0.0]]))

    for correct in (pgd_correct, partial(apgd_correct, losses=("ce",))):
        found = correct(logits, image, label, key=jax.random.clone(key), ball=linf(0.1), steps=2)
        np.testing.assert_array_equal(found, [False, True])


def test_one_start_that_is_misclassified_suffices_though_its_loss_is_smaller(key):
    """Left: 0.45 against 0.55, wrong. Right: 0.2 of many, right, and of larger cross-entropy."""
    left = np.log([0.45, 0.55, *[1e-9] * 9])
    right = np.log([0.2, *[0.08] * 10])
    image, label = np.full((1, 1, 1, 1), 0.5, np.float32), np.eye(11, dtype=np.float32)[:1]

    def logits(x):
        side = x.reshape(-1, 1) < 0.4999
        return jnp.where(side, jnp.asarray(left, jnp.float32), jnp.asarray(right, jnp.float32))

    for restarts, expected in ((1, {True, False}), (20, {False})):
        run = partial(pgd_correct, ball=linf(0.1), steps=1, step_size=0.0, restarts=restarts)
        correct = jax.jit(lambda key, run=run: run(logits, image, label, key=key)[0])
        assert {bool(correct(k)) for k in jax.random.split(key, 12)} == expected
        key = jax.random.fold_in(jax.random.clone(key), 1)


def test_the_worst_case_needs_every_attack_to_fail(key):
    """Cross-entropy has no slope where the softmax saturates; DLR has: only together they tell."""
    weight = np.array([[1.0, -1.0, 0.0], [0.5, 0.0, -0.5]], np.float32)
    image = np.full((1, 1, 1, 2), 0.5, np.float32)
    label = np.eye(3, dtype=np.float32)[:1]

    def logits(x):
        return 1e5 * (x.reshape(1, 2) - jnp.array([[0.45, 0.45]])) @ weight

    # The margin of class 0 is 2 d_1 + 0.5 d_2 with d = x - 0.45: wrong below -0.05 / 2 in pixel 1.
    ball = linf(0.06)
    run = partial(apgd_correct, logits, image, label, ball=ball, steps=8)
    outcome = {
        names: bool(run(key=jax.random.key(5), losses=names)[0])
        for names in (("ce",), ("dlr",), ("ce", "dlr"))
    }
    assert outcome == {("ce",): True, ("dlr",): False, ("ce", "dlr"): False}
    np.testing.assert_array_equal(
        worst_case(
            jnp.array([True, True, False]),
            jnp.array([True, False, True]),
            jnp.array([True, True, True]),
        ),
        [True, False, False],
    )


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
