"""Where Auto-PGD beats a fixed step, and DLR a saturated cross-entropy."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from attack_toys import bumpy, run, run_pgd

from varmixup_jax import losses
from varmixup_jax.attacks.apgd import apgd
from varmixup_jax.attacks.pgd import (
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
