"""Attacks where the optimum is known, and the guarantees of a ball."""

import functools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from attack_toys import BALLS, SHAPE, bumpy, flat, linear, run, run_pgd

from varmixup_jax.attacks.apgd import apgd
from varmixup_jax.attacks.pgd import (
    l2,
    linf,
    pgd,
    zero_start,
)


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
    if dtype == jnp.float32:
        np.testing.assert_allclose(found.loss, bumpy(weight, found.image), rtol=1e-5, atol=1e-5)


def test_the_loss_sees_float32_whatever_the_image(key, image, weight):
    seen = []

    def loss(image):
        seen.append(image.dtype)
        return linear(weight, image).astype(jnp.bfloat16)

    run_pgd(key, image.astype(jnp.bfloat16), loss)
    assert set(seen) == {jnp.dtype(jnp.float32)}


def test_nan_losses_never_win(key, image, weight):
    def loss(image):  # NaN wherever the first pixel got brighter
        value = bumpy(weight, image)
        brighter = image[:, 0, 0, 0] > 0.5
        return jnp.where(brighter, jnp.nan, value)

    darker = image.at[:, 0, 0, 0].set(0.45)
    found = run_pgd(key, darker, loss, keep="best", restarts=4)
    assert np.all(np.isfinite(found.loss))


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
