"""Device memory: a test set that is sent once, and a batch that is halved once, with a word."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.errors import JaxRuntimeError

from varmixup_jax.evaluation import programs, suite, tally
from varmixup_jax.evaluation.halving import Halving
from varmixup_jax.evaluation.protocol import EvaluationProtocol
from varmixup_jax.evaluation.views import computed_views

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (21, 2, 2, 1), np.uint8)
LABELS = np.arange(21) % 2
WEIGHT = RNG.normal(size=(4, 2)).astype(np.float32)


def linear(weight, image):
    return jnp.reshape(image, (image.shape[0], -1)) @ weight


def noisy(key, name, image, severity):
    del name, severity
    return jnp.clip(image + 0.2 * jax.random.uniform(key, image.shape), 0.0, 1.0)


def measure(attack_steps=2):
    said, sent = [], []

    def put(batch):
        sent.append(batch.nbytes)
        return jnp.asarray(batch)

    views = computed_views(noisy, ("fog", "snow"), (1, 2))
    protocol = EvaluationProtocol(batch_size=8, attack_steps=attack_steps, linearity_eps=())
    key = jax.random.key(0, impl="rbg")
    rest = {"corruptions": views, "put": put, "say": said.append}
    found = suite.evaluate(linear, WEIGHT, IMAGES, LABELS, protocol, key=key, **rest)
    return found, said, sent


def test_the_test_set_is_sent_once_where_it_fits(monkeypatch):
    found, _, sent = measure(attack_steps=0)
    assert len(sent) == 3  # batches of 8, for the clean images and four views
    monkeypatch.setattr(tally, "RESIDENT", 0)
    again, _, sent = measure(attack_steps=0)
    assert len(sent) == 3 * 5
    assert again.metrics == found.metrics


def test_a_batch_that_is_too_large_is_halved_once_and_all_is_measured(monkeypatch):
    whole, said, _ = measure()
    assert said == []
    plain, attacked, sizes = tally.batch_logits, programs.pgd, []

    def small(logits_fn, weight, image):
        sizes.append(len(image))
        if len(image) > 4:
            jnp.zeros((1 << 26, 1 << 26), jnp.uint8)  # 4 PiB, of no machine: JAX's own error
        return plain(logits_fn, weight, image)

    def small_attack(*batch, **settings):
        sizes.append(len(batch[-1]))
        return attacked(*batch, **settings)

    monkeypatch.setattr(suite, "batch_logits", small)
    monkeypatch.setattr(programs, "pgd", small_attack)
    halved, said, _ = measure()
    assert said == ["out of device memory with 8 images at once, continuing with half"]
    assert sizes[0] == 8
    assert set(sizes[1:]) == {4}
    clean_and_views = [m for m in whole.metrics if "pgd" not in m["metric"]]
    again = [m for m in halved.metrics if "pgd" not in m["metric"]]
    for ours, theirs in zip(again, clean_and_views, strict=True):  # on the same noise
        assert ours == {**theirs, "value": pytest.approx(theirs["value"], rel=1e-5)}


def test_half_a_batch_that_is_too_large_and_other_errors_are_raised():
    def broken(text):
        def fn(batch):
            raise JaxRuntimeError(text)

        return Halving(jnp.asarray, said.append)(fn)

    said = []
    with pytest.raises(JaxRuntimeError, match="RESOURCE_EXHAUSTED"):
        broken("RESOURCE_EXHAUSTED: out of memory")(jnp.zeros((4, 1)))
    assert len(said) == 1
    with pytest.raises(JaxRuntimeError, match="INTERNAL"):
        broken("INTERNAL: a bug")(jnp.zeros((4, 1)))
    assert len(said) == 1


@pytest.mark.parametrize("rows", [1, 5])
def test_halves_of_any_size_and_padding(rows):
    def padded(batch):  # as over two devices
        return jnp.asarray(np.concatenate([batch, batch[-1:]]) if len(batch) % 2 else batch)

    halving = Halving(padded, lambda text: None)
    halving._halved = True
    batch = np.arange(2 * rows, dtype=np.float32).reshape(rows, 2)
    found = halving(lambda one: {"double": 2 * one})(jnp.asarray(batch))
    np.testing.assert_array_equal(found["double"], 2 * batch)
