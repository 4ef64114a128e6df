"""One field of the evaluation is changed: what `evaluate` is asked for changes in that alone."""

from types import SimpleNamespace
from unittest import mock

import jax
import numpy as np
import pytest
from field_changes import differing
from toy import set_fields

from varmixup_jax.config import base_config
from varmixup_jax.experiment import measuring

IMAGES = np.random.default_rng(1).integers(0, 256, (12, 4, 4, 3), np.uint8)
LABELS = np.arange(12) % 4


class Asked(Exception):
    """Ends `measured` where it has asked."""


def measure(**fields):
    """What `evaluate` is asked for, by argument."""
    setup = SimpleNamespace(
        data=SimpleNamespace(name="toy", test_images=IMAGES, test_labels=LABELS),
        logits=None,
        mapping=SimpleNamespace(shard_batch=None),
        published=None,
        corruption_source="computed",
        frost_source="procedural",
        corrupt=len,
    )
    config = set_fields(base_config(), **fields)

    asked = {}

    def evaluate(logits_fn, variables, images, labels, *, key, corruptions, **rest):
        views = [(view.corruption, view.severity) for view in corruptions]
        asked.update(images=images, labels=labels, views=views, **rest)
        asked["key"] = jax.random.key_data(key)
        raise Asked

    with mock.patch.object(measuring, "evaluate", evaluate), pytest.raises(Asked):
        measuring.measured(config, setup, None, None, {})
    return asked


# The field, its other value, and the arguments that change with it.
FIELDS = [
    ("eval__batch_size", 7, "batch_size"),
    ("eval__bins", 5, "num_bins"),
    ("eval__examples", 6, "images labels"),
    ("eval__attack_examples", 5, "attack_images"),
    ("eval__attack_examples", 0, "attack_images pgd_steps"),
    ("eval__attack_eps", 0.5, "attack_eps"),
    ("eval__attack_step_size", 0.5, "pgd_step_size"),
    ("eval__attack_steps", 3, "pgd_steps"),
    ("eval__attack_restarts", 3, "attack_restarts"),
    ("eval__apgd_steps", 3, "apgd_steps"),
    ("eval__linearity_examples", 5, "linearity_images"),
    ("eval__linearity_examples", 0, "linearity_images linearity_eps"),
    ("eval__linearity_eps", (0.5,), "linearity_eps"),
    ("eval__linearity_steps", 3, "linearity_steps"),
    ("eval__linearity_restarts", 1, "linearity_restarts"),
    ("eval__linearity_relative_step", 0.5, "linearity_relative_step"),
    ("seeds", (1,), ""),  # every seed is measured on the same images, attacks and corruptions
    ("method", "erm", ""),
]


@pytest.mark.parametrize(("field", "value", "changes"), FIELDS, ids=[f[0] for f in FIELDS])
def test_a_field_changes_what_it_should(field, value, changes):
    before, after = measure(), measure(**{field: value})
    assert differing(before, after) == set(changes.split())
    if len(changes.split()) == 1:
        assert after[changes] == value


def test_all_conditions_are_measured_on_the_test_split():
    asked = measure()
    np.testing.assert_array_equal(asked["images"], IMAGES)
    assert len(set(asked["views"])) == 15 * 5
