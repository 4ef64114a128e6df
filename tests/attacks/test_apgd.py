"""Auto-PGD against its published algorithm, and where it beats a fixed step."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from attack_toys import SHAPE, bumpy, run, run_pgd

from varmixup_jax import losses
from varmixup_jax.vicinal.apgd import apgd, checkpoints
from varmixup_jax.vicinal.attacks import (
    linf,
    zero_start,
)


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
