"""Runs of a classifier: what seeds and methods share, what selects, and which state is evaluated.

The training itself is left out: what `fitted` would be given is compared, on a small network.
"""

import functools
from dataclasses import replace
from types import SimpleNamespace
from unittest import mock

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from toy import set_fields

from varmixup_jax.config import base_config, freeze
from varmixup_jax.data import Dataset
from varmixup_jax.models.forward import as_apply
from varmixup_jax.runs import classifier
from varmixup_jax.runs.resume import Trained
from varmixup_jax.training.checkpoints import digest
from varmixup_jax.types import TrainState, identity_augment, identity_tap

CLASSES, SIZE = 3, 4
RNG = np.random.default_rng(0)


class Small(nn.Module):
    """A linear layer, BatchNorm, a linear layer; two taps."""

    num_stages = 1

    @nn.compact
    def __call__(self, image, *, train=False, tap=identity_tap):
        hidden = nn.Dense(5)(tap(0, image).reshape(len(image), -1))
        hidden = nn.BatchNorm(use_running_average=not train, momentum=0.5)(hidden)
        return nn.Dense(CLASSES)(tap(1, nn.relu(hidden)))


def part(count):
    images = RNG.integers(0, 256, (count, SIZE, SIZE, 1), np.uint8)
    return images, (np.arange(count) % CLASSES).astype(np.int32)


DATA = Dataset("toy", *part(24), *part(9), *part(9), tuple("abc"))


@pytest.fixture(autouse=True)
def standard_promotion():
    """optax's Adam and cosine schedule do not run under strict promotion."""
    with jax.numpy_dtype_promotion("standard"), jax.debug_key_reuse(False):
        yield


def config_of(method="erm", **fields):
    c = base_config()
    c.method, c.batch_size, c.epochs, c.eval.every_epochs = method, 6, 5.0, 1.0
    c.optim.schedule, c.optim.learning_rate = "piecewise", 0.5
    return freeze(set_fields(c, **fields))


def setup_of(data=DATA, augment=identity_augment, config=None):
    module = Small()
    return SimpleNamespace(
        config=config or config_of(),
        data=data,
        module=module,
        apply=as_apply(module),
        validation_logits=None,
        augment=augment,
        mapping=SimpleNamespace(shard_batch=None),
        steps_per_call=7,
    )


def observed(config, seed=0, data=DATA):
    """What `fitted` is given, as arrays and plain values."""
    given = {}

    def fitted(task, directory, mapping, **rest):
        given.update(task=task, **rest)

    setup = setup_of(data, config=config)
    with mock.patch.object(classifier, "fitted", fitted):
        classifier._train(setup, None, config.method, seed, None)
    task, watch = given["task"], given["watch"]
    fresh = task.fresh
    return {
        "start": fresh.params,
        "key": jax.random.key_data(task.key),
        "order": task.data_seed,
        "plan": task.plan,
        "average": (task.ema_decay, bool(fresh.ema)),
        "rates": [watch.each(step)["learning_rate"] for step in range(1, task.plan.total_steps)],
        "images": (task.fixed["images"], task.fixed["labels"]),
        "kept": given["keep"],
        "chosen": (given["select"], given["best"]),
        "quiet": given["quiet"],
    }


@functools.cache
def usual():
    """What is observed of plain training with seed 0."""
    return observed(config_of())


def differing(one, other):
    """The names under which two dicts of trees hold different structures, values or arrays."""
    return {name for name in one if not _equal(one[name], other[name])}


def _equal(one, other):
    one, other = jax.tree.flatten(one), jax.tree.flatten(other)
    same = [np.array_equal(a, b) for a, b in zip(one[0], other[0], strict=False)]
    return one[1] == other[1] and all(same)


def test_a_seed_changes_the_start_the_order_and_every_draw():
    other = observed(config_of(), seed=1)
    assert differing(usual(), other) == {"start", "key", "order"}
    assert differing(usual(), observed(config_of(), seed=0)) == set()


def test_methods_share_the_start_the_order_and_the_keys():
    assert differing(usual(), observed(config_of("mixup"))) == set()


def test_the_numbers_are_those_of_the_configuration():
    seen = observed(config_of(optim__warmup=0.2, ema_decay=0.9))
    assert seen["plan"] == (24, 6, 20, 7, 4)
    # Warm-up over 4 of 20 steps to 0.5; a tenth from step 10, a hundredth from step 15.
    np.testing.assert_allclose(seen["rates"][:5], [0, 0.125, 0.25, 0.375, 0.5])
    np.testing.assert_allclose([seen["rates"][s] for s in (9, 11, 16)], [0.5, 0.05, 0.005])
    assert seen["average"] == (0.9, True)
    assert seen["chosen"] == (True, False)  # scored on the validation split; the last is taken
    np.testing.assert_array_equal(seen["images"][0], DATA.train_images)
    np.testing.assert_array_equal(seen["images"][1], DATA.train_labels)
    without = DATA._replace(val_images=DATA.val_images[:0], val_labels=DATA.val_labels[:0])
    assert observed(config_of(), data=without)["chosen"] == (False, False)


def test_methods_that_attack_have_a_length_of_their_own():
    config = config_of(epochs=5.0, attack_epochs=7.0)
    assert [classifier.epochs_of(config, name) for name in ("erm", "at")] == [5.0, 7.0]
    config = replace(config, attack_epochs=None)
    assert classifier.epochs_of(config, "at") == 5.0


def test_the_classifier_sees_augmented_images():
    seen = []

    def augment(key, image):
        seen.append(np.asarray(image))
        return image

    setup = setup_of(augment=augment)
    with mock.patch.object(classifier, "fitted") as fitted:
        classifier._train(setup, None, "erm", 0, None)
    (task, *_), index = fitted.call_args.args, np.array([5, 2, 7])
    fixed = jax.tree.map(jnp.asarray, task.fixed)
    task.loss(task.fresh.params, task.fresh.stats, jax.random.key(0), fixed, index)
    np.testing.assert_allclose(seen, [DATA.train_images[index] / 255], rtol=1e-6)


def test_selection_is_by_accuracy_on_the_validation_split():
    """The averaged parameters are validated, on the validation split; the test split is not seen."""
    watch = classifier._watch(setup_of(), lambda step: 0.1 + 0 * step, 4)
    state = TrainState(0, "raw", {}, (), ("averaged", "statistics"))
    seen = []

    def predict(logits, variables, images, **_):
        seen.append((variables, images))
        right = DATA.val_labels if images is DATA.val_images else DATA.train_labels
        wrong = np.where(np.arange(len(right)) < 3, (right + 1) % CLASSES, right)  # three are
        return np.eye(CLASSES, dtype=np.float32)[wrong]

    with mock.patch.object(classifier, "predict", predict):
        scores = watch.validate(state)
    assert {variables for variables, _ in seen} == {("averaged", "statistics")}
    assert [len(images) for _, images in seen] == [24, 9]
    np.testing.assert_array_equal(seen[0][1], DATA.train_images)
    np.testing.assert_array_equal(seen[1][1], DATA.val_images)
    assert scores["val_accuracy"] == pytest.approx(6 / 9)
    assert scores["clean_accuracy"] == pytest.approx(21 / 24)
    partition = np.e + CLASSES - 1
    nll = np.log(partition) - 6 / 9  # a logit of 1 for the right class of six, of 0 for three
    assert scores["val_nll"] == pytest.approx(nll, rel=1e-5)


def test_what_was_chosen_is_evaluated_and_what_was_last_has_the_digest(tmp_path):
    def state(value, step):
        leaf = {"w": np.full(2, value, np.float32)}
        return TrainState(np.int32(step), leaf, {}, (), ())

    trained = Trained(state(2.0, 8), state(1.0, 4), 4)
    with (
        mock.patch.object(classifier, "_train", return_value=trained),
        mock.patch.object(classifier, "_keep") as keep,
        mock.patch.object(classifier, "measured", return_value=([], {}, {})) as measured,
        mock.patch.object(classifier, "report"),
    ):
        summary = classifier.train_and_evaluate(setup_of(), None, "erm", 0, tmp_path / "run")
    for call in (measured.call_args, keep.call_args):
        (params, _), who = call.args[2:4]
        np.testing.assert_array_equal(params["w"], [1.0, 1.0])
        assert who["step"] == 4
    assert (summary["steps"], summary["evaluated_step"]) == (8, 4)
    assert summary["params_sha256"] == digest((trained.last.params, {}))
    assert summary["parameters"] == 2
