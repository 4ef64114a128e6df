"""Attacks where the optimum is known, the guarantees of a ball, and an independent PGD."""

import functools
from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from varmixup_jax import losses
from varmixup_jax.types import Draw, Env, identity_tap
from varmixup_jax.vicinal.apgd import apgd, checkpoints
from varmixup_jax.vicinal.attacks import (
    attack,
    gaussian_start,
    l2,
    linf,
    pgd,
    uniform_start,
    zero_start,
)

SHAPE = (5, 4, 4, 3)
BALLS = {"linf": linf, "l2": l2}


def flat(array):
    return np.asarray(array, np.float64).reshape(len(array), -1)


@pytest.fixture
def key():
    """Of a generator whose programs compile in a third of the time on CPU."""
    return jax.random.key(0, impl="rbg")


@pytest.fixture
def image():
    return jnp.asarray(np.random.default_rng(2).uniform(size=SHAPE), jnp.float32)


@pytest.fixture
def weight():
    return jnp.asarray(np.random.default_rng(3).normal(size=SHAPE[1:]), jnp.float32)


def linear(weight, image):
    return jnp.einsum("bhwc,hwc->b", image, weight)


def bumpy(weight, image):
    """Smooth, with many local maxima."""
    return jnp.sum(jnp.sin(9.0 * image * weight[None] + 1.0), axis=(1, 2, 3))


def run(attack, key, image, loss, **settings):
    """Compiled as one program, which is much faster than operation by operation."""
    return jax.jit(lambda key, image: attack(key, image, loss, **settings))(key, image)


def run_pgd(key, image, loss, **settings):
    # Programs without random numbers compile several times faster; starts have tests of their own.
    settings = {"ball": linf(0.1), "steps": 5, "step_size": 0.05, "start": zero_start, **settings}
    return run(pgd, key, image, loss, **settings)


# --- where the optimum is known -------------------------------------------------------------------


@pytest.mark.parametrize("bounds", [(0.0, 1.0), None], ids=str)
def test_linf_optimum_of_a_linear_loss_is_exact(key, image, weight, bounds):
    found = run_pgd(key, image, partial(linear, weight), bounds=bounds)
    expected = image + 0.1 * jnp.sign(weight)[None]
    if bounds:
        expected = jnp.clip(expected, *bounds)
    np.testing.assert_allclose(found.image, expected, atol=1e-7)
    np.testing.assert_allclose(found.loss, linear(weight, expected), rtol=1e-5)


def test_l2_optimum_of_a_linear_loss(key, image, weight):
    found = run_pgd(
        key, image, partial(linear, weight), ball=l2(0.5), steps=60, step_size=0.2, bounds=None
    )
    expected = image + 0.5 * weight[None] / jnp.linalg.norm(weight.ravel())
    np.testing.assert_allclose(found.image, expected, atol=2e-4)


@pytest.mark.parametrize("kind", BALLS)
def test_apgd_finds_the_optimum_of_a_linear_loss(key, image, weight, kind):
    ball = BALLS[kind](0.3)
    found = run(
        apgd, key, image, partial(linear, weight), ball=ball, steps=30, bounds=None, restarts=2
    )
    size = np.abs(weight).sum() if kind == "linf" else np.linalg.norm(flat(weight))
    np.testing.assert_allclose(found.loss - linear(weight, image), 0.3 * size, rtol=1e-4)


# --- guarantees -----------------------------------------------------------------------------------

ATTACKS = {
    "pgd_last": partial(pgd, steps=4, step_size=0.07, start=zero_start),
    "pgd_best": partial(pgd, steps=4, step_size=0.07, keep="best", restarts=2),
    "apgd": partial(apgd, steps=6, start=zero_start),
}


@functools.cache
def compiled(name, kind):
    """An attack on `bumpy`, compiled once for all keys, images and radii."""

    @jax.jit
    def attacked(key, image, weight, radius):
        return ATTACKS[name](key, image, partial(bumpy, weight), ball=BALLS[kind](radius))

    return attacked


@pytest.mark.parametrize("kind", BALLS)
@pytest.mark.parametrize("name", ATTACKS)
def test_radius_zero_gives_the_image_back(key, image, weight, name, kind):
    found = compiled(name, kind)(key, image, weight, 0.0)
    np.testing.assert_array_equal(found.image, image)


@pytest.mark.parametrize("kind", BALLS)
@pytest.mark.parametrize("name", ATTACKS)
def test_reported_loss_is_that_of_the_image(key, image, weight, name, kind):
    found = compiled(name, kind)(key, image, weight, 0.2)
    np.testing.assert_allclose(found.loss, bumpy(weight, found.image), rtol=1e-5, atol=1e-5)
    assert np.any(found.loss > bumpy(weight, image))


@pytest.mark.parametrize(
    ("name", "kind", "dtype"),
    [(name, kind, jnp.float32) for name in ATTACKS for kind in BALLS]
    + [("pgd_best", "linf", jnp.bfloat16), ("apgd", "l2", jnp.float16)],
)
def test_stays_in_the_ball_and_in_the_pixels_interval(key, image, weight, name, kind, dtype):
    narrow, radius = image.astype(dtype), 0.2
    found = compiled(name, kind)(key, narrow, weight, radius)
    assert found.image.dtype == dtype
    assert found.loss.dtype == jnp.float32
    moved = flat(found.image) - flat(narrow)
    size = np.abs(moved).max(axis=1) if kind == "linf" else np.linalg.norm(moved, axis=1)
    rounding = float(jnp.finfo(dtype).eps) * (1 if kind == "linf" else moved.shape[1] ** 0.5)
    assert np.all(size <= radius + rounding)
    assert np.any(size > 0.5 * radius)
    assert float(found.image.min()) >= 0.0
    assert float(found.image.max()) <= 1.0


def test_the_loss_sees_float32_whatever_the_image(key, image, weight):
    seen = []

    def loss(image):
        seen.append(image.dtype)
        return linear(weight, image).astype(jnp.bfloat16)

    run_pgd(key, image.astype(jnp.bfloat16), loss)
    assert set(seen) == {jnp.dtype(jnp.float32)}


def test_best_iterate_is_at_least_the_last_and_the_start(key, image, weight):
    loss = partial(bumpy, weight)
    settings = {"step_size": 0.3, "ball": linf(0.4), "bounds": None}
    last = run_pgd(key, image, loss, steps=7, keep="last", **settings).loss
    best = run_pgd(jax.random.clone(key), image, loss, steps=7, keep="best", **settings).loss
    start = run_pgd(jax.random.clone(key), image, loss, steps=0, **settings).loss
    assert np.all(best >= last)
    assert np.all(best >= start)
    assert np.any(best > last)


@pytest.mark.parametrize("keep", ["last", "best"])
def test_restarts_keep_the_best_start_of_each_example(key, image, weight, keep):
    settings = {"ball": linf(0.1), "steps": 5, "step_size": 0.05, "keep": keep}

    @functools.partial(jax.jit, static_argnums=1)
    def attacked(key, restarts):
        return pgd(key, image, partial(bumpy, weight), restarts=restarts, **settings)

    together = attacked(key, 4)
    single = [attacked(one, 1) for one in jax.random.split(jax.random.clone(key), 4)]
    losses_of_starts = np.stack([found.loss for found in single])
    np.testing.assert_allclose(together.loss, losses_of_starts.max(axis=0), rtol=1e-6)
    winners = losses_of_starts.argmax(axis=0)
    assert len(set(winners)) > 1  # otherwise "per example" is not tested
    expected = np.stack([found.image for found in single])[winners, np.arange(SHAPE[0])]
    np.testing.assert_allclose(together.image, expected, atol=1e-6)


def test_examples_do_not_touch_each_other(key, image, weight):
    loss = partial(bumpy, weight)
    settings = {"ball": linf(0.2), "steps": 12, "start": zero_start}
    together = run(apgd, key, image, loss, **settings)
    alone = run(apgd, key, image[2:3], loss, **settings)
    np.testing.assert_allclose(together.image[2:3], alone.image, atol=1e-5)


def test_nan_losses_never_win(key, image, weight):
    def loss(image):  # NaN wherever the first pixel got brighter
        value = bumpy(weight, image)
        brighter = image[:, 0, 0, 0] > 0.5
        return jnp.where(brighter, jnp.nan, value)

    darker = image.at[:, 0, 0, 0].set(0.45)
    found = run_pgd(key, darker, loss, keep="best", restarts=4)
    assert np.all(np.isfinite(found.loss))


def test_one_compilation_serves_every_radius(image, weight, key):
    @jax.jit
    @chex.assert_max_traces(n=1)
    def attacked(key, image, radius):
        loss = partial(bumpy, weight)
        return pgd(key, image, loss, ball=linf(radius), steps=3, step_size=radius / 2).image

    chex.clear_trace_counter()
    for radius in (0.0, 0.1, 0.2):
        moved = attacked(jax.random.clone(key), image, jnp.float32(radius)) - image
        assert float(jnp.abs(moved).max()) <= radius + 1e-6


def test_no_gradient_flows_through_an_attack_or_into_what_it_closes_over(key, image, weight):
    def risk(weight):
        found = run_pgd(key, image, partial(bumpy, weight), restarts=2)
        return jnp.sum(found.image) + jnp.sum(found.loss)

    np.testing.assert_array_equal(jax.grad(risk)(weight), 0.0)
    # Nothing of the attack is differentiated again either: no cosine of a cosine's derivative.
    plain = str(jax.make_jaxpr(risk)(weight))
    graded = str(jax.make_jaxpr(jax.grad(risk))(weight))
    assert graded.count(" cos ") + graded.count(" sin ") <= plain.count(" cos ") + plain.count(
        " sin "
    )


# --- balls and starts -----------------------------------------------------------------------------


def test_uniform_start_is_uniform_in_the_linf_ball(key):
    delta = np.ravel(uniform_start(key, linf(0.2), (200, 10, 10, 1)))

    def looks_uniform(sample):
        ordered = np.sort(sample)
        edges = (ordered + 0.2) / 0.4
        rank = (np.arange(sample.size) + 0.5) / sample.size
        return np.abs(edges - rank).max() < 1.63 / np.sqrt(sample.size)  # Kolmogorov, 1 %

    assert looks_uniform(delta)
    assert not looks_uniform(0.97 * delta)


def test_l2_sample_is_uniform_in_the_ball(key):
    delta = flat(l2(0.2).sample(key, (4000, 2, 2, 1), jnp.float32))
    # In n = 4 dimensions (|delta| / radius)^4 is uniform, and the direction has mean 0.
    quantile = np.sort((np.linalg.norm(delta, axis=1) / 0.2) ** 4)
    rank = (np.arange(4000) + 0.5) / 4000
    assert np.abs(quantile - rank).max() < 1.63 / np.sqrt(4000)
    assert np.abs(np.sqrt(quantile) - rank).max() > 1.63 / np.sqrt(4000)
    np.testing.assert_allclose(delta.mean(axis=0), 0.0, atol=4 * 0.2 / np.sqrt(4 * 4000))


def test_gaussian_start_has_the_scale_asked_for(key):
    delta = gaussian_start(0.001)(key, linf(0.1), (100, 10, 10, 1))
    error = 4 / np.sqrt(2 * delta.size)
    assert abs(float(jnp.std(delta)) / 0.001 - 1) < error
    assert "0.001" in repr(gaussian_start(0.001))


@pytest.mark.parametrize("kind", BALLS)
def test_projection_is_the_nearest_point(key, kind):
    ball = BALLS[kind](0.3)
    delta = jnp.asarray(0.5 * np.random.default_rng(4).normal(size=(6, 3, 3, 1)), jnp.float32)
    nearest = flat(ball.project(delta))
    distance = np.linalg.norm(flat(delta) - nearest, axis=1)
    others = np.asarray(ball.sample(key, (200, 9), jnp.float32))
    to_others = np.linalg.norm(flat(delta)[:, None] - others[None], axis=-1)
    assert np.all(distance[:, None] <= to_others + 1e-6)
    np.testing.assert_allclose(ball.project(jnp.asarray(nearest, jnp.float32)), nearest, atol=1e-7)
    inside = 0.001 * delta
    np.testing.assert_array_equal(ball.project(inside), inside)


@pytest.mark.parametrize("scale", [1.0, 1e-25, 0.0])
def test_l2_ascent_survives_tiny_gradients(scale):
    grad = jnp.asarray(scale * np.random.default_rng(4).normal(size=(4, 3, 3, 2)), jnp.float32)
    norms = np.linalg.norm(flat(l2(1.0).ascent(grad)), axis=1)
    np.testing.assert_allclose(norms, 1.0 if scale else 0.0, rtol=1e-6)


def test_balls_of_different_norms_are_different_settings():
    assert linf(0.1) == linf(0.1)
    assert linf(0.1) != l2(0.1)
    assert repr(linf(0.5)) == "Linf(radius=0.5)"


# --- APGD -----------------------------------------------------------------------------------------


def test_apgd_beats_pgd_with_a_bad_step_on_a_bumpy_loss(key, image, weight):
    loss = partial(bumpy, weight)
    tuned = run(apgd, key, image, loss, ball=linf(0.3), steps=40, start=zero_start).loss
    coarse = run_pgd(
        jax.random.clone(key), image, loss, ball=linf(0.3), steps=40, step_size=0.3, keep="best"
    ).loss
    assert float(jnp.mean(tuned)) > float(jnp.mean(coarse))


def reference_apgd(image, value_and_grad, eps, steps):
    """Algorithm 1 of Croce and Hein (2020), one example in plain Python, started at the image."""

    def project(point):
        return np.clip(np.clip(point, image - eps, image + eps), 0.0, 1.0)

    marks, eta = checkpoints(steps), 2 * eps
    points = [image]
    best, best_point = value_and_grad(image)[0], image
    rises, mark, best_at_mark, halved = 0, 0, best, False
    for k in range(steps):
        value, grad = value_and_grad(points[k])
        ahead = project(points[k] + eta * np.sign(grad))
        if k == 0:
            point = ahead
        else:
            inertia = points[k] - points[k - 1]
            point = project(points[k] + 0.75 * (ahead - points[k]) + 0.25 * inertia)
        reached = value_and_grad(point)[0]
        rises += reached > value
        if reached > best:
            best, best_point = reached, point
        if k + 1 in marks:
            few_rises = rises < 0.75 * (k + 1 - mark)
            stuck = not halved and best == best_at_mark
            halved = few_rises or stuck
            if halved:
                eta, point = eta / 2, best_point
            rises, mark, best_at_mark = 0, k + 1, best
        points.append(point)
    return best_point, best, eta


@pytest.mark.parametrize("steps", [4, 30])
def test_apgd_follows_the_published_algorithm(key, image, weight, steps):
    found = apgd(key, image, partial(bumpy, weight), ball=linf(0.3), steps=steps, start=zero_start)
    slope = 9.0 * np.asarray(weight, np.float64)

    def value_and_grad(point):
        phase = slope * point + 1.0
        return np.sin(phase).sum(), slope * np.cos(phase)

    halvings = 0
    for index in range(SHAPE[0]):
        one = np.asarray(image[index], np.float64)
        point, value, eta = reference_apgd(one, value_and_grad, 0.3, steps)
        np.testing.assert_allclose(found.loss[index], value, rtol=1e-4)
        np.testing.assert_allclose(found.image[index], point, atol=1e-4)
        halvings += eta < 0.6
    assert halvings > 0 or steps < 30  # the comparison did pass through halvings


def test_checkpoints_are_the_published_ones():
    assert checkpoints(100) == (0, 22, 41, 57, 70, 80, 87, 93, 99)
    for steps in (1, 2, 7, 20, 50):
        marks = checkpoints(steps)
        assert marks[0] == 0
        assert marks[-1] <= steps
        assert list(marks) == sorted(set(marks))


def test_dlr_attacks_a_classifier_whose_softmax_saturates(key):
    """Logits so large that cross-entropy and its gradient are exactly 0: DLR still has a slope."""
    rng = np.random.default_rng(4)
    weight = jnp.asarray(rng.normal(size=(48, 4)), jnp.float32)
    image = jnp.asarray(rng.uniform(size=(16, 4, 4, 3)), jnp.float32)

    def logits(image):
        return 1e6 * jnp.reshape(image, (len(image), -1)) @ weight

    label = jax.nn.one_hot(jnp.argmax(logits(image), axis=1), 4)
    total = jax.jit(lambda image: jnp.sum(losses.cross_entropy(logits(image), label)))
    value, grad = jax.value_and_grad(total)(image)
    assert float(value) == 0.0
    np.testing.assert_array_equal(grad, 0.0)

    def loss(image):
        return losses.dlr(logits(image), label)

    found = run(apgd, key, image, loss, ball=linf(0.3), steps=10, start=zero_start)
    assert np.all(np.argmax(logits(found.image), axis=1) != np.argmax(label, axis=1))


# --- the vicinity ---------------------------------------------------------------------------------


@pytest.fixture
def draw(image):
    label = jax.nn.one_hot(jnp.arange(SHAPE[0]) % 3, 3)
    return Draw(image, label, latent=jnp.zeros((SHAPE[0], 2)))


@pytest.fixture
def env():
    weight = jnp.asarray(np.random.default_rng(7).normal(size=(48, 3)), jnp.float32)
    return Env(lambda image: jnp.reshape(image, (image.shape[0], -1)) @ weight)


@pytest.mark.parametrize("distance", [losses.ce, losses.kl_to_clean])
def test_attack_is_a_vicinity_that_raises_its_distance(key, env, draw, distance):
    start = gaussian_start(0.001)
    vicinity = attack(distance, ball=linf(0.1), steps=5, step_size=0.05, start=start)
    sample = vicinity(key, env, draw)
    again = vicinity(jax.random.clone(key), env, draw)
    clean = env.logits(draw.image)

    def value(image):
        return distance(env.logits(image), draw.label, clean)

    assert np.all(value(sample.image) > value(draw.image))
    assert sample.latent is None
    assert sample.tap is identity_tap
    assert sample.label is draw.label
    assert sample.image.dtype == draw.image.dtype
    np.testing.assert_array_equal(again.image, sample.image)


def test_a_vicinity_prints_its_names_and_numbers():
    text = repr(attack(losses.ce, ball=linf(0.25), steps=7, step_size=0.125))
    for word in ("ce", "Linf(radius=0.25)", "steps=7", "step_size=0.125", "uniform_start"):
        assert word in text


# --- an independent library -----------------------------------------------------------------------


def test_agrees_with_foolbox(key, image):
    foolbox = pytest.importorskip("foolbox", reason="foolbox is an optional oracle")
    eagerpy = pytest.importorskip("eagerpy")
    weight = jax.random.normal(key, (48, 3))

    def logits(image):
        return jnp.tanh(3.0 * jnp.reshape(image, (image.shape[0], -1)) @ weight)

    index = jnp.arange(SHAPE[0]) % 3
    label = jax.nn.one_hot(index, 3)
    settings = {"steps": 6, "step_size": 0.02}
    ours = pgd(
        key,
        image,
        lambda image: losses.cross_entropy(logits(image), label),
        ball=linf(0.06),
        start=zero_start,
        **settings,
    )
    theirs = foolbox.attacks.LinfProjectedGradientDescentAttack(
        abs_stepsize=settings["step_size"], steps=settings["steps"], random_start=False
    ).run(
        foolbox.models.JAXModel(logits, bounds=(0, 1)),
        eagerpy.astensor(image),
        foolbox.criteria.Misclassification(eagerpy.astensor(index)),
        epsilon=0.06,
    )
    np.testing.assert_allclose(ours.image, theirs.raw, atol=1e-6)


# --- refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"steps": -1}, "steps = -1: must be a whole number >= 0"),
        ({"restarts": 0}, "restarts = 0: must be a whole number >= 1"),
        ({"step_size": -0.1}, r"step_size = -0\.1: must be >= 0"),
        ({"keep": "bst"}, "keep = 'bst': must be one of last, best"),
        ({"bounds": (1.0, 0.0)}, r"bounds = \(1.0, 0.0\): must be None or"),
    ],
)
def test_settings_out_of_range_are_refused(key, image, weight, settings, message):
    with pytest.raises(ValueError, match=message):
        run_pgd(key, image, partial(linear, weight), **settings)


@pytest.mark.parametrize("name", ATTACKS)
def test_integer_images_are_refused(key, name):
    whole = jnp.zeros(SHAPE, jnp.uint8)
    with pytest.raises(TypeError, match=r"^image: dtype is uint8, must be floating .* in \[0, 1\]"):
        ATTACKS[name](key, whole, lambda image: image.sum(axis=(1, 2, 3)), ball=linf(0.1))


@pytest.mark.parametrize("kind", BALLS)
def test_negative_radius_is_refused(kind):
    with pytest.raises(ValueError, match=r"radius = -0\.1: must be >= 0"):
        BALLS[kind](-0.1)


def test_a_reduced_loss_is_refused(key, image):
    with pytest.raises(ValueError, match=r"^loss: has shape \(\), must be per example"):
        run_pgd(key, image, jnp.mean)
