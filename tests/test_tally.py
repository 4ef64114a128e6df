"""Batches of one shape: nothing dropped, nothing counted twice, one compilation."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from varmixup_jax.evaluation.tally import map_batches, predict, to_pixels
from varmixup_jax.training.parallel import distribute


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (21, 3, 3, 1), np.uint8)


def linear(weight, image):
    return jnp.reshape(image, (image.shape[0], -1)) @ weight


WEIGHT = np.random.default_rng(1).normal(size=(9, 4)).astype(np.float32)


@pytest.mark.parametrize("batch_size", [7, 8, 50])
def test_predict_does_not_depend_on_the_batch_size(images, batch_size):
    expected = (images.reshape(21, -1) / 255.0) @ WEIGHT
    got = predict(linear, WEIGHT, images, batch_size=batch_size)
    assert isinstance(got, np.ndarray)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, expected, atol=1e-5)


def test_one_trace_serves_all_batches_and_all_variables(images):
    traced = chex.assert_max_traces(linear, n=1)
    for scale in (1.0, 2.0):
        got = predict(traced, np.float32(scale) * WEIGHT, images, batch_size=8)
        np.testing.assert_allclose(got, scale * (images.reshape(21, -1) / 255) @ WEIGHT, atol=1e-5)


def test_batches_arrive_in_order_with_equal_shapes_and_the_last_filled_up():
    seen = []

    def fn(number, image):
        seen.append((np.asarray(number), image.shape))
        return {"double": 2 * number, "both": (number, image)}

    number = np.arange(7, dtype=np.int32)
    image = np.arange(14, dtype=np.float32).reshape(7, 2)
    got = map_batches(fn, (number, image), batch_size=3, in_flight=1)
    np.testing.assert_array_equal(got["double"], 2 * number)
    np.testing.assert_array_equal(got["both"][1], image)
    assert {shape for _, shape in seen} == {(3, 2)}
    np.testing.assert_array_equal(np.stack([n for n, _ in seen]), [[0, 1, 2], [3, 4, 5], [6, 6, 6]])


def test_every_batch_gets_a_key_of_its_own(key):
    draw = jax.jit(lambda key, rows: jax.random.uniform(key, rows.shape))
    rows = np.zeros(10, np.float32)
    got = map_batches(draw, (rows,), batch_size=4, key=key)
    assert len(np.unique(got)) == 10
    again = map_batches(draw, (rows,), batch_size=4, key=jax.random.clone(key))
    np.testing.assert_array_equal(got, again)
    second = draw(jax.random.fold_in(jax.random.clone(key), 1), jnp.zeros(4))
    np.testing.assert_array_equal(got[4:8], second)


@pytest.mark.parametrize("batch_size", [10, 16])
def test_all_devices_share_a_batch_that_they_do_not_divide(images, batch_size):
    mapping = distribute("jit")
    used, rows = [], []

    @jax.jit
    def shifted(key, image):
        noise = jax.random.uniform(key, (len(image), 4))
        return linear(jnp.asarray(WEIGHT), to_pixels(image)) + noise

    def watched(key, image):
        found = shifted(key, image)
        rows.append(len(image))
        used.append({shard.device.id for shard in found.addressable_shards})
        return found

    key = jax.random.key(3)
    settings = {"batch_size": batch_size, "key": key}
    got = map_batches(watched, (images,), put=mapping.shard_batch, **settings)
    assert all(len(devices) == jax.device_count() == 8 for devices in used)
    assert set(rows) == {-(-batch_size // 8) * 8}
    alone = map_batches(shifted, (images,), **settings | {"key": jax.random.clone(key)})
    np.testing.assert_allclose(got, alone, atol=1e-6)  # the padding changes no example's noise


def test_memory_mapped_arrays_are_read(images, tmp_path):
    np.save(tmp_path / "images.npy", images)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    np.testing.assert_array_equal(
        predict(linear, WEIGHT, mapped, batch_size=8), predict(linear, WEIGHT, images, batch_size=8)
    )


def test_pixels():
    np.testing.assert_allclose(
        to_pixels(jnp.arange(256).astype(jnp.uint8)), np.arange(256) / 255.0, rtol=2e-7
    )
    floats = jnp.array([0.25, 1.0], jnp.bfloat16)
    assert to_pixels(floats).dtype == jnp.float32
    np.testing.assert_array_equal(to_pixels(floats), [0.25, 1.0])
    with pytest.raises(TypeError, match=r"^images: dtype is int32, must be uint8 or floating"):
        to_pixels(jnp.array([1, 2]))


def test_refusals(images):
    same = lambda *batch: batch[0]  # noqa: E731
    with pytest.raises(ValueError, match=r"^arrays: have lengths \[3, 21\]"):
        map_batches(same, (images, images[:3]), batch_size=4)
    with pytest.raises(ValueError, match=r"^arrays: have lengths \[0\]"):
        map_batches(same, (images[:0],), batch_size=4)
    with pytest.raises(ValueError, match="batch_size = 0: must be a whole number >= 1"):
        map_batches(same, (images,), batch_size=0)
    with pytest.raises(ValueError, match=r"^fn: a result has shape \(\), must be \[4, ...\]"):
        map_batches(lambda batch: jnp.mean(to_pixels(batch)), (images,), batch_size=4)
