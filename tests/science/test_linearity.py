"""Local linearity error where it is known in closed form, and step by step in float64."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from varmixup_jax.evaluation.linearity import local_linearity_error

SHAPE = (3, 3, 3, 2)


@pytest.fixture
def key():
    """Of a generator whose programs compile in a third of the time on CPU."""
    return jax.random.key(0, impl="rbg")


@pytest.fixture
def image():
    return jnp.asarray(np.random.default_rng(1).uniform(size=SHAPE), jnp.float32)


@pytest.fixture
def curvature():
    return jnp.asarray(np.random.default_rng(2).uniform(0.5, 2.0, SHAPE[1:]), jnp.float32)


@functools.cache
def compiled(power):
    """gamma of sum a x^power / power; one program for every radius and curvature."""

    @jax.jit
    def gamma(key, image, curvature, eps):
        def loss(image):
            return jnp.sum(curvature[None] * image**power, axis=(1, 2, 3)) / power

        return local_linearity_error(loss, image, key=key, eps=eps)

    return gamma


def test_a_linear_loss_has_none(key, image, curvature):
    np.testing.assert_allclose(compiled(1)(key, image, curvature, 0.1), 0.0, atol=2e-6)


@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("eps", [8 / 255, 0.5])
def test_quadratic_loss_of_one_sign(key, image, curvature, eps, sign):
    # l = x'Ax / 2, A diagonal: the departure is delta'A delta / 2, largest in a corner, whatever x.
    # Unclipped: with eps = 0.5 every corner lies outside [0, 1].
    got = compiled(2)(key, image, sign * curvature, eps)
    expected = 0.5 * eps**2 * float(jnp.sum(curvature))
    np.testing.assert_allclose(got, expected, rtol=2e-3)


def test_grows_with_the_radius_and_is_zero_at_zero(key, image, curvature):
    radii = (0.0, 2 / 255, 8 / 255, 0.2)
    gammas = [compiled(2)(jax.random.clone(key), image, curvature, eps) for eps in radii]
    np.testing.assert_array_equal(gammas[0], 0.0)
    assert np.all(np.diff(gammas, axis=0) > 0)


def test_the_tangent_is_taken_at_the_image(key, image, curvature):
    # l = a x^3 / 3: the departure a (x d^2 + d^3 / 3) is largest at d = +eps for x, a > 0.
    eps = 0.1
    # d = -eps is a local maximum, a (x eps^2 - eps^3 / 3), where an ascent may end too.
    got = compiled(3)(key, image, curvature, eps)
    square = np.sum(curvature[None] * image * eps**2, axis=(1, 2, 3))
    cube = float(np.sum(curvature * eps**3 / 3))
    assert np.all(got > 0.98 * (square - cube))
    assert np.all(got < 1.02 * (square + cube))
    assert np.all(square - cube > 2 * cube)  # at the origin instead of the image it would be `cube`


def test_a_cubic_of_one_pixel_is_known_exactly(key):
    """l = a x^3 / 3: the departure a (x d^2 + d^3 / 3) is largest at d = eps, given enough starts."""
    image = np.array([0.2, 0.5, 0.95], np.float32).reshape(3, 1, 1, 1)

    def loss(image):
        return 2.0 * jnp.sum(image**3, axis=(1, 2, 3)) / 3

    gamma = jax.jit(lambda key: local_linearity_error(loss, image, key=key, eps=0.1, restarts=20))
    expected = 2 * (image.ravel() * 0.1**2 + 0.1**3 / 3)  # 0.95 + 0.1 is not clipped
    np.testing.assert_allclose(gamma(key), expected, rtol=1e-4)


@pytest.mark.parametrize(
    ("steps", "restarts", "relative_step", "eps"),
    [(0, 3, 0.5, 0.2), (6, 1, 0.7, 0.4), (3, 3, 0.9, 0.3)],
)
def test_every_iterate_of_every_start_step_by_step(key, steps, restarts, relative_step, eps):
    """gamma is the largest departure met: steps of `relative_step * eps` along the sign of
    sgn(departure) (grad l(x + d) - grad l(x)), d kept in the ball and x + d not in [0, 1]."""
    rng = np.random.default_rng(4)
    image = rng.uniform(size=SHAPE).astype(np.float32)
    slope = (6 * rng.normal(size=SHAPE)).astype(np.float32)

    def loss(image):
        return jnp.sum(jnp.sin(jnp.asarray(slope) * image), axis=(1, 2, 3))

    settings = {"eps": eps, "steps": steps, "restarts": restarts, "relative_step": relative_step}
    found = jax.jit(lambda key: local_linearity_error(loss, image, key=key, **settings))(key)
    # One start draws from the key itself, several from its parts.
    keys = jax.random.split(jax.random.clone(key), restarts)
    keys = [jax.random.clone(key)] if restarts == 1 else keys
    starts = [eps * jax.random.uniform(k, SHAPE, jnp.float32, -1.0, 1.0) for k in keys]
    improved = False
    for i in range(SHAPE[0]):
        x, a = image[i].astype(np.float64), slope[i].astype(np.float64)
        met = []
        for start in starts:
            d = np.asarray(start[i], np.float64)
            for _ in range(steps + 1):
                departure = np.sin(a * (x + d)).sum() - np.sin(a * x).sum()
                departure -= (d * a * np.cos(a * x)).sum()
                met.append(abs(departure))
                turn = np.sign(departure) * (a * np.cos(a * (x + d)) - a * np.cos(a * x))
                d = np.clip(d + relative_step * eps * np.sign(turn), -eps, eps)
        np.testing.assert_allclose(found[i], max(met), rtol=2e-5)
        improved |= max(met) not in met[steps :: steps + 1]
    assert improved or steps == 0  # the best iterate was not the last of a start


def test_refusals(key, image):
    loss = lambda image: image.sum(axis=(1, 2, 3))  # noqa: E731
    with pytest.raises(ValueError, match=r"radius = -0\.1: must be >= 0"):
        local_linearity_error(loss, image, key=key, eps=-0.1)
    with pytest.raises(ValueError, match="relative_step = 0: must be > 0"):
        local_linearity_error(loss, image, key=key, eps=0.1, relative_step=0)
    with pytest.raises(TypeError, match="image: dtype is uint8"):
        local_linearity_error(loss, image.astype(jnp.uint8), key=key, eps=0.1)
