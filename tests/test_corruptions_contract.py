"""What every corruption promises: shapes, the 8-bit grid, one compilation, keys, refusals."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from varmixup_jax import corruptions

ALL = [*corruptions.NAMES, *corruptions.EXTRA]


def pictures(count, size, channels, seed=0):
    """Smooth random pictures on the 8-bit grid that use the whole range."""
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(size=(count, 5, 5, channels))
    at = np.linspace(0, 3.999, size)
    low, part = at.astype(int), at % 1
    rows = coarse[:, low] * (1 - part)[:, None, None] + coarse[:, low + 1] * part[:, None, None]
    out = rows[:, :, low] * (1 - part)[:, None] + rows[:, :, low + 1] * part[:, None]
    return jnp.asarray(np.round(out * 255) / 255, jnp.float32)


# One shape in all test files of the corruptions: each is compiled once per process.
COUNT, SIZE = 60, 32


@pytest.mark.parametrize("name", ALL)
def test_every_severity_changes_the_images_and_stays_on_the_grid(name):
    images = pictures(COUNT, SIZE, 3)
    for severity in corruptions.SEVERITIES:
        out = corruptions.corrupt(jax.random.key(3), name, images, severity)
        assert out.shape == images.shape
        assert out.dtype == jnp.float32
        levels = np.asarray(out) * 255
        np.testing.assert_allclose(levels, np.round(levels), atol=1e-4)
        assert levels.min() >= 0
        assert levels.max() <= 255
        assert np.abs(np.asarray(out - images)).mean() > 0


@pytest.mark.parametrize("name", ["zoom_blur", "pixelate", "fog"])
def test_one_trace_serves_five_severities(name):
    images = pictures(2, 16, 1)
    traces = []

    @functools.partial(jax.jit, static_argnums=0)
    def run(name, key, images, severity):
        traces.append(name)
        return corruptions.corrupt(key, name, images, severity)

    results = [run(name, jax.random.key(3), images, jnp.int32(s)) for s in corruptions.SEVERITIES]
    assert len(traces) == 1
    assert len({np.asarray(out).tobytes() for out in results}) == 5


@pytest.mark.parametrize("name", ALL)
def test_any_square_size_traces_and_so_does_a_vmap_over_keys_and_severities(name):
    def corrupt(key, images, severity=5, table="cifar"):
        return corruptions.corrupt(key, name, images, severity, table)

    key = jax.eval_shape(lambda: jax.random.key(0))
    odd = jax.ShapeDtypeStruct((2, 33, 33, 3), jnp.float32)
    assert jax.eval_shape(corrupt, key, odd).shape == odd.shape
    keys = jax.eval_shape(lambda: jax.random.split(jax.random.key(0), 5))
    small = jax.ShapeDtypeStruct((5, 2, 8, 8, 1), jnp.float32)
    mapped = jax.vmap(functools.partial(corrupt, table="tiny_imagenet"))
    severities = jax.ShapeDtypeStruct((5,), jnp.int32)
    assert jax.eval_shape(mapped, keys, small, severities).shape == small.shape


@pytest.mark.parametrize("name", ["saturate", "spatter", "glass_blur"])
def test_the_smallest_grey_images_are_finite(name):
    images = pictures(3, 8, 1)
    for severity in (1, 5):
        out = corruptions.corrupt(jax.random.key(0), name, images, severity, "tiny_imagenet")
        assert np.isfinite(np.asarray(out)).all()
        assert (np.asarray(out) <= 1).all()


@pytest.mark.parametrize("name", ["gaussian_noise", "glass_blur", "motion_blur", "contrast"])
def test_key_decides_the_draw(name):
    images = pictures(COUNT, SIZE, 3)
    first, again, other = (
        np.asarray(corruptions.corrupt(jax.random.key(seed), name, images, 3)) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert np.array_equal(first, other) == (name in corruptions.DETERMINISTIC)


def test_vmap_over_keys_and_severities_equals_a_loop():
    name, images = "motion_blur", pictures(2, 16, 3)
    keys = jax.vmap(jax.random.key)(jnp.arange(5))
    run = jax.jit(jax.vmap(lambda key, s: corruptions.corrupt(key, name, images, s)))
    mapped = np.asarray(run(keys, jnp.arange(1, 6)))
    for index in range(5):
        single = corruptions.corrupt(jax.random.key(index), name, images, index + 1)
        # Sums may be ordered differently: one grey level where a value sits on a boundary.
        gap = np.abs(mapped[index] - np.asarray(single)) * 255
        assert (gap > 0.5).mean() < 1e-3


@pytest.mark.parametrize("name", ["gaussian_noise", "fog", "snow"])
def test_identical_images_get_independent_draws(name):
    images = jnp.full((COUNT, SIZE, SIZE, 3), 0.5)
    out = np.asarray(corruptions.corrupt(jax.random.key(0), name, images, 5))
    assert not np.array_equal(out[0], out[1])


def test_images_are_read_on_the_grid():
    images = pictures(COUNT, SIZE, 3)
    moved = images + 0.3 / 255
    key = jax.random.key(0)
    np.testing.assert_array_equal(
        corruptions.corrupt(key, "contrast", images, 2),
        corruptions.corrupt(key, "contrast", moved, 2),
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "fogg"}, r"name = 'fogg': must be one of .*did you mean fog"),
        ({"table": "imagenet"}, r"table = 'imagenet': must be one of cifar, tiny_imagenet"),
        ({"severity": 0}, r"severity = 0: must be one of 1, 2, 3, 4, 5"),
        ({"severity": 6}, r"severity = 6: must be one of"),
        ({"severity": 2.5}, r"severity = '2.5': must be one of"),
        ({"images": jnp.zeros((2, 7, 7, 3))}, r"images: has shape \(2, 7, 7, 3\).*S >= 8"),
        ({"images": jnp.zeros((2, 8, 9, 3))}, r"images: has shape \(2, 8, 9, 3\)"),
        ({"images": jnp.zeros((2, 8, 8, 4))}, r"C = 1 or 3"),
        ({"images": jnp.zeros((8, 8, 3))}, r"must be \[B, H, W, C\]"),
    ],
)
def test_refusals_name_field_value_and_what_is_allowed(change, message):
    arguments = {"name": "fog", "severity": 3, "table": "cifar", "images": jnp.zeros((1, 8, 8, 3))}
    with pytest.raises(ValueError, match=message):
        corruptions.corrupt(key=jax.random.key(0), **(arguments | change))


def test_integer_images_are_refused():
    with pytest.raises(TypeError, match="images: dtype is uint8"):
        corruptions.corrupt(jax.random.key(0), "fog", jnp.zeros((1, 8, 8, 3), jnp.uint8), 1)
