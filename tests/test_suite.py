"""The whole evaluation of a small classifier: every number recomputed, one compilation each."""

import json
from dataclasses import replace

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, confusion_matrix

from varmixup_jax.evaluation import programs
from varmixup_jax.evaluation.protocol import EvaluationProtocol
from varmixup_jax.evaluation.record import rows
from varmixup_jax.evaluation.suite import evaluate, label_rows
from varmixup_jax.evaluation.views import View, computed_views, spread
from varmixup_jax.report.rows import Row
from varmixup_jax.training.parallel import distribute

N, SIDE, K = 50, 4, 3
RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (N, SIDE, SIDE, 1), np.uint8)
WEIGHT = RNG.normal(size=(SIDE * SIDE, K)).astype(np.float32)
LABELS = np.where(
    RNG.uniform(size=N) < 0.8,
    (IMAGES.reshape(N, -1) @ WEIGHT).argmax(axis=1),
    RNG.integers(0, K, N),
)
CALIBRATION = {
    "accuracy",
    "nll",
    "brier",
    "ece",
    "ece_adaptive",
    "max_calibration_error",
    "calibration_gap",
    "overconfidence_error",
    "balanced_accuracy",
}
BY_CLASS = {f"class_accuracy_{k}" for k in range(K)}


@pytest.fixture
def key():
    """Of a generator whose programs compile in a third of the time on CPU."""
    return jax.random.key(0, impl="rbg")


def linear(variables, image):
    return jnp.reshape(image, (image.shape[0], -1)) @ variables["weight"]


def darken(key, name, image, severity):
    """Stands for a corruption: traced severity, random."""
    del name
    noise = 0.01 * jax.random.uniform(key, image.shape)
    return jnp.clip(image * (1.0 - 0.15 * severity.astype(jnp.float32)) + noise, 0.0, 1.0)


CLEAN = EvaluationProtocol(batch_size=16, attack_examples=None, linearity_examples=None)


def run(key, protocol=CLEAN, logits_fn=linear, weight=WEIGHT, **rest):
    return evaluate(logits_fn, {"weight": weight}, IMAGES, LABELS, protocol, key=key, **rest)


def values(evaluation, corruption="none", severity=0):
    return {
        m["metric"]: m["value"]
        for m in evaluation.metrics
        if (m["corruption"], m["severity"]) == (corruption, severity)
    }


def test_clean_measures_recomputed_by_hand(key):
    evaluation = run(key)
    got = values(evaluation)
    assert set(got) == CALIBRATION | BY_CLASS
    logits = (IMAGES.reshape(N, -1) / 255.0) @ WEIGHT
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    one_hot = np.eye(K)[LABELS]
    np.testing.assert_allclose(got["accuracy"], (p.argmax(axis=1) == LABELS).mean(), rtol=1e-6)
    np.testing.assert_allclose(got["nll"], -np.log(p[np.arange(N), LABELS]).mean(), rtol=1e-4)
    np.testing.assert_allclose(got["brier"], ((p - one_hot) ** 2).sum(axis=1).mean(), rtol=1e-4)
    gap = p.max(axis=1).mean() - got["accuracy"]
    np.testing.assert_allclose(got["calibration_gap"], gap, rtol=1e-3, atol=1e-6)
    assert got["ece"] >= abs(gap) - 1e-6
    assert all(m["count"] == N for m in evaluation.metrics if m["metric"] not in BY_CLASS)
    matrix = confusion_matrix(LABELS, p.argmax(axis=1))
    recall = matrix.diagonal() / matrix.sum(axis=1)
    assert [got[f"class_accuracy_{k}"] for k in range(K)] == pytest.approx(recall)
    by_library = balanced_accuracy_score(LABELS, p.argmax(axis=1))
    assert got["balanced_accuracy"] == pytest.approx(by_library)
    assert by_library != pytest.approx(got["accuracy"])
    counts = [m["count"] for m in evaluation.metrics if m["metric"] in BY_CLASS]
    assert counts == np.bincount(LABELS).tolist()
    bins = evaluation.bins["none", 0]
    assert isinstance(bins.count, np.ndarray)
    assert bins.count.shape == (15,)
    assert bins.count.sum() == N
    assert bins.correct.sum() == round(N * got["accuracy"])


def test_robustness_and_linearity_names_counts_and_order(key):
    heard = []
    protocol = EvaluationProtocol(
        attack_steps=3,
        apgd_steps=4,
        attack_examples=20,
        attack_eps=0.02,
        attack_step_size=0.01,
        linearity_eps=(2 / 255, 0.5 / 255, 0.03),
        linearity_steps=3,
        linearity_restarts=1,
        linearity_examples=10,
    )
    evaluation = run(key, protocol, progress=heard.append)
    radii = [f"linearity {radius}/255" for radius in ("2", "0.5", "7.65")]
    assert heard == ["clean", "pgd3", "apgd4", *radii]
    got = values(evaluation)
    count = {m["metric"]: m["count"] for m in evaluation.metrics}
    attacks = {"pgd3_accuracy", "apgd4_accuracy", "adversarial_accuracy"}
    linearity = {f"local_linearity_error_{n}/255" for n in ("2", "0.5", "7.65")}
    assert set(got) == CALIBRATION | BY_CLASS | attacks | linearity
    assert {count[name] for name in attacks} == {20}
    assert {count[name] for name in linearity} == {10}
    assert got["adversarial_accuracy"] <= min(got["pgd3_accuracy"], got["apgd4_accuracy"])
    chosen = spread(N, 20)
    clean = (IMAGES[chosen].reshape(20, -1) @ WEIGHT).argmax(axis=1) == LABELS[chosen]
    assert 0 < got["adversarial_accuracy"] < clean.mean()
    assert 0 < got["local_linearity_error_0.5/255"] < got["local_linearity_error_2/255"]


def test_adversarial_accuracy_is_the_worst_case_of_each_image(key, monkeypatch):
    """PGD fools every second image, Auto-PGD every third."""
    number = np.arange(N)
    for name, every in (("pgd", 2), ("apgd", 3)):
        images = {image.tobytes(): bool(i % every) for i, image in zip(number, IMAGES, strict=True)}

        def withstands(_, batch, label, images=images, **settings):
            return jnp.array([images[np.asarray(image).tobytes()] for image in batch])

        monkeypatch.setattr(programs, name, withstands)
    got = values(run(key, replace(CLEAN, attack_steps=1, apgd_steps=1, attack_examples=48)))
    chosen = spread(N, 48)
    by_pgd, by_apgd = chosen % 2 > 0, chosen % 3 > 0
    assert got["pgd1_accuracy"] == by_pgd.mean()
    assert got["apgd1_accuracy"] == by_apgd.mean()
    assert got["adversarial_accuracy"] == (by_pgd & by_apgd).mean()


def test_views_are_compiled_once_per_transform_and_once_per_architecture(key):
    chex.clear_trace_counter()
    corrupt = chex.assert_max_traces(darken, n=2)  # two names
    logits_fn = chex.assert_max_traces(linear, n=1)
    for weight in (WEIGHT, 0.5 * WEIGHT):  # two runs
        views = computed_views(corrupt, ("dark", "darker"), (1, 2, 3))
        evaluation = run(jax.random.clone(key), CLEAN, logits_fn, weight, corruptions=views)
        assert len(evaluation.bins) == 1 + 2 * 3
        for name in ("dark", "darker"):
            for severity in (1, 2, 3):
                assert set(values(evaluation, name, severity)) == CALIBRATION


def test_a_view_is_corrupted_and_its_noise_depends_on_name_and_severity_alone(key):
    views = computed_views(darken, ("dark", "darker"), (1, 4))
    together = run(key, corruptions=views)
    reverse = run(jax.random.clone(key), corruptions=views[::-1])
    alone = run(jax.random.clone(key), corruptions=views[-1:])
    last = values(together, "darker", 4)
    assert values(reverse, "darker", 4) == last
    assert values(alone, "darker", 4) == last
    assert values(together, "dark", 4) != last  # another name, other noise
    assert last["nll"] != values(together)["nll"]


def test_eight_devices_measure_what_one_does(key):
    """Batches of 10, which eight do not divide: the padding changes no number and no noise."""
    protocol = replace(CLEAN, batch_size=10, attack_steps=1, attack_examples=N)
    views = computed_views(darken, ("dark",), (3,))
    placed = []

    def put(batch):
        placed.append(distribute("jit").shard_batch(batch))
        return placed[-1]

    spread_out = run(key, protocol, put=put, corruptions=views)
    alone = run(jax.random.clone(key), protocol, corruptions=views)
    assert {len(batch.sharding.device_set) for batch in placed} == {8}
    for ours, theirs in zip(spread_out.metrics, alone.metrics, strict=True):
        assert ours == {**theirs, "value": pytest.approx(theirs["value"], rel=1e-5)}


def test_given_images_and_labels(key):
    other = np.roll(LABELS, 1)
    views = [
        View("dark", 1, images=IMAGES // 2),
        View("relabelled", 1, images=IMAGES[:30], labels=other[:30]),
    ]
    evaluation = run(key, corruptions=iter(views))
    halved = ((IMAGES // 2).reshape(N, -1) @ WEIGHT).argmax(axis=1)
    np.testing.assert_allclose(
        values(evaluation, "dark", 1)["accuracy"], (halved == LABELS).mean(), rtol=1e-6
    )
    predicted = (IMAGES[:30].reshape(30, -1) @ WEIGHT).argmax(axis=1)
    np.testing.assert_allclose(
        values(evaluation, "relabelled", 1)["accuracy"], (predicted == other[:30]).mean(), rtol=1e-6
    )
    assert {m["count"] for m in evaluation.metrics if m["corruption"] == "relabelled"} == {30}


def test_rows_are_json_lines(key):
    evaluation = run(key)
    lines = rows(evaluation, run="digits-erm-s0", method="erm", seed=0, step=7, dataset="digits")
    assert len(lines) == len(evaluation.metrics)
    for line, metric in zip(lines, evaluation.metrics, strict=True):
        fields = json.loads(json.dumps(line))
        assert (*fields, "notes") == Row._fields
        assert fields["split"] == "test"
        assert {name: fields[name] for name in metric} == metric


def test_label_rows():
    np.testing.assert_array_equal(label_rows([2, 0], 2, 3), [[0, 0, 1], [1, 0, 0]])
    soft = np.array([[0.25, 0.75], [1.0, 0.0]])
    np.testing.assert_array_equal(label_rows(soft, 2, 2), soft)
    with pytest.raises(ValueError, match=r"labels: from 0 to 3, must lie in \[0, 2\]"):
        label_rows([0, 3], 2, 3)
    with pytest.raises(ValueError, match=r"must be integer \(2,\) or rows \(2, 3\)"):
        label_rows([0, 1, 2], 2, 3)
    with pytest.raises(ValueError, match="must be integer"):
        label_rows([0.0, 1.0], 2, 3)


def test_a_sorted_test_set_is_sampled_evenly():
    sorted_labels = np.repeat(np.arange(10), 100)
    counts = np.bincount(sorted_labels[spread(1000, 95)])
    assert counts.min() >= 9
    assert counts.max() <= 10
    np.testing.assert_array_equal(spread(5, 9), np.arange(5))
    with pytest.raises(ValueError, match="images = 0"):
        spread(5, 0)


def test_refusals(key):
    with pytest.raises(ValueError, match="view 'fog': needs either transform or images"):
        run(key, corruptions=[View("fog", 1)])
    with pytest.raises(ValueError, match="attack_steps = -1"):
        run(key, replace(CLEAN, attack_steps=-1))
