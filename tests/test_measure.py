"""What `measured` asks of an evaluation: which images, under which conditions, with which key."""

from types import SimpleNamespace
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from toy import set_fields

from varmixup_jax.config import base_config, freeze
from varmixup_jax.evaluation.conditions import Conditions
from varmixup_jax.runs import measure

RNG = np.random.default_rng(0)
TRAIN, TEST = (RNG.integers(0, 256, (12, 4, 4, 3), np.uint8) for _ in range(2))
LABELS = np.arange(12) % 4


class Asked(Exception):
    """Ends `measured` where it has asked."""


def asked(directory=None, **fields):
    """The arguments of `evaluate`."""
    setup = SimpleNamespace(
        config=freeze(set_fields(base_config(), **fields)),
        data=SimpleNamespace(
            name="toy",
            train_images=TRAIN,
            train_labels=LABELS[::-1],
            test_images=TEST,
            test_labels=LABELS,
            val_images=TRAIN[:3],
            val_labels=LABELS[:3],
            num_classes=4,
        ),
        logits=None,
        mapping=SimpleNamespace(shard_batch=jnp.asarray),
        conditions=Conditions("computed", "synthetic", len),
        unseen={"other": TRAIN},
    )
    with (
        mock.patch.object(measure, "evaluate", side_effect=Asked) as evaluate,
        pytest.raises(Asked),
    ):
        measure.measured(setup, None, None, {"run": "toy"}, directory)
    _, _, images, labels, _ = evaluate.call_args.args
    return {"images": images, "labels": labels, **evaluate.call_args.kwargs}


def test_all_conditions_are_measured_on_the_test_split():
    given = asked()
    np.testing.assert_array_equal(given["images"], TEST)
    np.testing.assert_array_equal(given["labels"], LABELS)
    assert len({(view.corruption, view.severity) for view in given["corruptions"]}) == 15 * 5


def test_the_temperature_is_fitted_on_the_validation_split_alone():
    images, labels = asked()["validation"]
    np.testing.assert_array_equal(images, TRAIN[:3])
    np.testing.assert_array_equal(labels, LABELS[:3])
    assert set(asked()["unseen"]) == {"other"}


def test_fewer_examples_are_evenly_spread_with_their_labels():
    given = asked(eval__examples=4)
    np.testing.assert_array_equal(given["images"], TEST[[0, 3, 6, 9]])
    np.testing.assert_array_equal(given["labels"], LABELS[[0, 3, 6, 9]])


def test_every_run_is_measured_with_the_same_key():
    """So that methods and seeds are compared on the same corrupted images."""
    keys = [asked(**fields)["key"] for fields in ({}, {"seeds": (1,)}, {"method": "mixup"})]
    data = [jax.random.key_data(key).tolist() for key in keys]
    assert data[0] == data[1] == data[2]


def test_an_interrupted_evaluation_goes_on_where_the_fields_are_the_same(tmp_path):
    asked(tmp_path)["remember"]("fog 3", lambda: np.arange(3))
    again = asked(tmp_path)["remember"]
    np.testing.assert_array_equal(again("fog 3", lambda: np.zeros(1)), np.arange(3))
    other = asked(tmp_path, eval__examples=4)["remember"]
    np.testing.assert_array_equal(other("fog 3", lambda: np.zeros(1)), np.zeros(1))
