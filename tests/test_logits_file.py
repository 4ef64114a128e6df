"""`logits.npz`: what is written says what the model said; other people's files are read or refused."""

import numpy as np
import pytest
from scipy.special import log_softmax

from varmixup_jax import logits_file
from varmixup_jax.atomic_files import write_arrays
from varmixup_jax.logits_file import Predictions

RNG = np.random.default_rng(0)
LABELS = np.array([2, 0, 1, 2], np.int32)


def test_names_types_and_labels_of_a_file(tmp_path):
    clean, fog, frost, snow = (RNG.normal(size=(rows, 3)) for rows in (4, 4, 4, 2))
    predictions = {
        ("none", 0): Predictions(clean, LABELS),
        ("fog", 3): Predictions(fog, LABELS),
        ("frost", 1): Predictions(frost, LABELS[::-1]),
        ("snow", 5): Predictions(snow, LABELS[:2]),
    }
    arrays = logits_file.as_arrays(predictions)
    named = {"clean", "fog/3", "frost/1", "snow/5"}
    assert set(arrays) == {"labels", "labels/frost/1", "labels/snow/5"} | named
    assert {name: array.dtype for name, array in arrays.items()} == {
        name: np.int32 if "labels" in name else np.float16 for name in arrays
    }
    write_arrays(tmp_path / "logits.npz", arrays)
    found = logits_file.read(tmp_path / "logits.npz")
    assert set(found) == set(predictions)
    for condition, (logits, labels) in predictions.items():
        np.testing.assert_array_equal(found[condition].labels, labels)
        read = log_softmax(found[condition].logits.astype(np.float64), axis=1)
        np.testing.assert_allclose(read, log_softmax(logits, axis=1), atol=5e-3)


def test_rounding_keeps_the_prediction_and_large_differences():
    """At 20 the numbers of float16 are 0.016 apart."""
    logits = np.array([[20.0, 20.004], [20.004, 20.0], [3e5, -3e5], [np.nan, 0.0]], np.float32)
    kept = logits_file.as_arrays({("none", 0): Predictions(logits, np.zeros(4, np.int32))})["clean"]
    assert kept[:3].argmax(axis=1).tolist() == [1, 0, 0]
    assert np.isfinite(kept[:3]).all()
    assert np.isnan(kept[3]).any()


GOOD = {"labels": LABELS, "clean": np.zeros((4, 3), np.float32)}


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"clean": GOOD["clean"]}, "has no array 'labels'"),
        ({"labels": LABELS}, "has only labels"),
        ({**GOOD, "fog": GOOD["clean"]}, "has an array 'fog', must be labels, clean, or"),
        ({**GOOD, "fog/6": GOOD["clean"]}, "has an array 'fog/6'"),
        ({**GOOD, "fog/3": np.zeros((4, 3), np.int8)}, r"fog/3 is int8 \[4, 3\], must be floating"),
        ({**GOOD, "clean": np.zeros((4, 1))}, r"clean is float64 \[4, 1\], must be floating"),
        ({**GOOD, "fog/3": np.zeros((5, 3))}, r"labels of fog/3 are int32 \[4\], must be integer"),
        ({**GOOD, "labels": LABELS / 1.0}, r"labels of clean are float64 \[4\]"),
    ],
)
def test_files_that_are_something_else_are_refused(arrays, message, tmp_path):
    np.savez(tmp_path / "theirs.npz", **arrays)
    with pytest.raises(ValueError, match=rf"theirs\.npz: {message}"):
        logits_file.read(tmp_path / "theirs.npz")
