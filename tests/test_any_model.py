"""`evaluate` of models from outside: what is read, what is refused, and that a report reads it."""

import json

import jax.numpy as jnp
import numpy as np
import pytest

from varmixup_jax import logits_file, report
from varmixup_jax.atomic_files import write_arrays
from varmixup_jax.evaluation import programs
from varmixup_jax.evaluation.any_model import evaluate, evaluate_logits
from varmixup_jax.report.rows import read_runs
from varmixup_jax.report.same_data import by_data

N, SIDE, K = 40, 8, 3
RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (N, SIDE, SIDE, 3), np.uint8)
WEIGHT = RNG.normal(size=(SIDE * SIDE * 3, K)).astype(np.float32)
SCORES = (IMAGES / 255.0).reshape(N, -1) @ WEIGHT
LABELS = np.where(RNG.uniform(size=N) < 0.8, SCORES.argmax(axis=1), RNG.integers(0, K, N))
QUIET = {"quiet": True, "corruptions": "none", "batch_size": 16}
LIGHT = {"attack_steps": 2, "linearity_eps": (8 / 255,), "linearity_steps": 2}
LIGHT |= {"attack_examples": 20, "linearity_examples": 10, "linearity_restarts": 1}


def in_jax(batch):
    return jnp.reshape(batch, (batch.shape[0], -1)) @ WEIGHT


def in_numpy(batch):
    assert type(batch) is np.ndarray
    assert batch.dtype == np.float32
    return batch.reshape(len(batch), -1) @ WEIGHT


def softmax(scores):
    p = np.exp(scores - scores.max(axis=1, keepdims=True))
    return p / p.sum(axis=1, keepdims=True)


def values(results):
    return {row["metric"]: row["value"] for row in results.rows if row["corruption"] == "none"}


@pytest.fixture(scope="module")
def of_jax():
    return evaluate(in_jax, IMAGES, LABELS, **QUIET, **LIGHT, name="linear", dataset="noise")


def test_a_jax_function_gets_every_measure(of_jax):
    found = values(of_jax)
    p = softmax(SCORES)
    assert found["accuracy"] == pytest.approx((SCORES.argmax(axis=1) == LABELS).mean())
    assert found["nll"] == pytest.approx(-np.log(p[np.arange(N), LABELS]).mean(), rel=1e-4)
    assert found["pgd2_accuracy"] <= found["accuracy"]
    assert found["local_linearity_error_8/255"] >= 0
    assert of_jax.remarks == ()
    np.testing.assert_allclose(of_jax.evaluation.predictions["none", 0].logits, SCORES, atol=1e-3)


@pytest.mark.parametrize(("classes", "losses"), [(2, ("ce",)), (3, ("ce", "dlr"))])
def test_two_classes_are_attacked_without_dlr_which_needs_three(classes, losses, monkeypatch):
    def withstands(_, image, label, *, losses, **settings):
        given.append(losses)
        return np.ones(len(image), bool)

    given = []
    monkeypatch.setattr(programs, "apgd", withstands)
    settings = {**QUIET, **LIGHT, "attack_steps": 0, "apgd_steps": 2, "linearity_examples": 0}
    evaluate(lambda batch: in_jax(batch)[:, :classes], IMAGES, LABELS % classes, **settings)
    assert set(given) == {losses}


def test_a_model_of_host_arrays_gets_the_same_without_attacks(of_jax):
    found = evaluate(in_numpy, IMAGES, LABELS, **QUIET)
    ours, theirs = values(found), values(of_jax)
    assert set(theirs) - set(ours) == {"pgd2_accuracy", "local_linearity_error_8/255"}
    assert ours == pytest.approx({name: theirs[name] for name in ours}, rel=1e-4, abs=1e-6)
    (remark,) = found.remarks
    assert remark.startswith("Attacks and local linearity are left out")
    assert ".py" not in remark
    assert remark in str(found)


def test_probabilities_are_read_as_such(of_jax):
    def probabilities(batch):
        return softmax(in_numpy(batch))

    found = values(evaluate(probabilities, IMAGES, LABELS, outputs="probabilities", **QUIET))
    assert found["ece"] == pytest.approx(values(of_jax)["ece"], rel=1e-4)
    assert found["nll"] == pytest.approx(values(of_jax)["nll"], rel=1e-3)

    def certain(batch):
        return np.eye(K)[in_numpy(batch).argmax(axis=1)]

    found = values(evaluate(certain, IMAGES, LABELS, outputs="probabilities", **QUIET))
    wrong = (SCORES.argmax(axis=1) != LABELS).mean()
    assert found["nll"] == pytest.approx(wrong * 52 * np.log(2), rel=1e-4)  # as log_loss clips


def test_the_layout_is_that_of_images_and_model(of_jax):
    seen = []

    def of_planes(batch):
        seen.append(batch.shape)
        return in_numpy(np.ascontiguousarray(batch.transpose(0, 2, 3, 1)))

    planes = IMAGES.transpose(0, 3, 1, 2)
    found = values(evaluate(of_planes, planes, LABELS, layout="NCHW", **QUIET))
    assert {shape[1:] for shape in seen} == {(3, SIDE, SIDE)}
    assert found["nll"] == pytest.approx(values(of_jax)["nll"], rel=1e-4)


def test_validation_images_and_other_sets(of_jax):
    dark = np.zeros_like(IMAGES)
    some = {"validation": (IMAGES[::2], LABELS[::2]), "ood": {"dark": dark}}
    found = values(evaluate(in_numpy, IMAGES, LABELS, **QUIET, **some))
    assert {"temperature", "nll_scaled", "ece_scaled"} <= set(found)
    assert found["nll_scaled"] < values(of_jax)["nll"]
    # All logits of a black image are 0: nothing is less sure.
    assert found["ood_auroc_dark"] == 1.0
    assert found["ood_fpr95_dark"] == 0.0


def test_corruptions_by_name_and_a_saved_run_that_a_report_reads(of_jax, tmp_path):
    settings = {**QUIET, "corruptions": ["brightness"], "name": "mine", "dataset": "noise"}
    found = evaluate(in_numpy, IMAGES, LABELS, **settings)
    views = {(row["corruption"], row["severity"]) for row in found.rows}
    assert views == {("none", 0), *(("brightness", level) for level in range(1, 6))}
    assert "| measure | clean | brightness (5) |" in str(found)
    assert [column.header for column in found.table().columns][1:] == ["clean", "brightness (5)"]
    place = found.save(tmp_path / "mine")
    of_jax.save(tmp_path / "linear")
    page = report.write([tmp_path], tmp_path / "page")
    table = page.with_suffix(".md").read_text()
    assert "mine" in table
    assert "linear" in table
    lines = [json.loads(line) for line in (place / "results.jsonl").read_text().splitlines()]
    assert lines == [dict(row) for row in found.rows]
    assert {line.get("corruption_source") for line in lines} == {None, "computed"}
    assert set(logits_file.read(place / "logits.npz")) == views
    with pytest.raises(ValueError, match="mine: holds a run, must be a new directory"):
        found.save(place)


def test_other_images_of_the_same_name_are_another_table(of_jax, tmp_path):
    """All sets are called "data" unless told otherwise: they shared a table, and its best was bold."""
    of_jax.save(tmp_path / "all")
    fewer = evaluate(in_numpy, IMAGES[:20], LABELS[:20], **QUIET, dataset="noise", name="fewer")
    fewer.save(tmp_path / "fewer")
    order = RNG.permutation(N)
    pixels = IMAGES[order] / np.float32(255)
    evaluate(in_numpy, pixels, LABELS[order], **QUIET, dataset="noise", name="same").save(
        tmp_path / "same"
    )
    runs = {run.name: run.dataset for run in by_data(read_runs([tmp_path]))}
    assert runs["noise-linear"] == runs["noise-same"] != runs["noise-fewer"]
    assert all(name.startswith("noise ") for name in runs.values())


def test_a_file_of_logits_gives_the_numbers_of_the_model(of_jax, tmp_path):
    arrays = {"labels": LABELS, "clean": SCORES.astype(np.float32), "fog/3": SCORES[::-1] / 2}
    write_arrays(tmp_path / "theirs.npz", arrays)
    found = evaluate_logits(tmp_path / "theirs.npz")
    ours, theirs = values(found), values(of_jax)
    assert ours == pytest.approx({name: theirs[name] for name in ours}, rel=1e-3, abs=1e-5)
    (fog,) = (r for r in found.rows if r["metric"] == "accuracy" and r["corruption"] == "fog")
    assert fog["value"] == pytest.approx((SCORES[::-1].argmax(axis=1) == LABELS).mean())
    with pytest.raises(ValueError, match="outputs = probabilities: a row sums to"):
        evaluate_logits(tmp_path / "theirs.npz", outputs="probabilities")
    clean = logits_file.Predictions(SCORES, LABELS)
    for name, logits, message in (
        ("fog", SCORES[:, :2], "have 2 and 3 classes, must all have the same number"),
        ("fogg", SCORES, "corruption = 'fogg': must be one of .* mean fog"),
    ):
        other = logits_file.Predictions(logits, LABELS)
        with pytest.raises(ValueError, match=message):
            evaluate_logits({("none", 0): clean, (name, 3): other})
    for settings, message in (
        ({"validation": clean}, "validation: are the logits of the test images, must be held-out"),
        ({"validation": logits_file.Predictions(SCORES[:, :2], LABELS)}, "have 2 and 3 classes"),
        ({"ood": {"a": SCORES[:, :2]}}, "have 2 and 3 classes"),
    ):
        with pytest.raises(ValueError, match=message):
            evaluate_logits({("none", 0): clean}, **settings)
    with pytest.raises(ValueError, match="ood: is compared with the clean images"):
        evaluate_logits({("fog", 3): clean}, ood={"a": SCORES})


calls = iter(range(100))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": LABELS + 1}, r"labels: from 1 to 3, must lie in \[0, 2\]"),
        ({"labels": LABELS[:5]}, "labels: has 5, must have 40, one per image"),
        ({"images": IMAGES.astype(np.float32)}, "images: has values from 0 to 255"),
        ({"images": IMAGES.astype(np.int32)}, "images: dtype is int32, must be floating"),
        ({"images": IMAGES.transpose(0, 3, 1, 2)}, "must be NHWC; pass layout='NCHW'"),
        ({"layout": "NCHW"}, "must be NCHW; pass layout='NHWC'"),
        ({"images": IMAGES[0]}, r"images: has shape \(8, 8, 3\), must be \[N, H, W, C\]"),
        ({"logits_fn": lambda x: softmax(in_numpy(x))}, "outputs = logits: rows are >= 0 and sum"),
        ({"logits_fn": lambda x: 100 * softmax(in_numpy(x))}, "rows are >= 0 and sum to 100, must"),
        ({"outputs": "probabilities"}, "outputs = probabilities: a row sums to"),
        ({"logits_fn": lambda x: in_numpy(x).argmax(axis=1)}, r"returns shape \[2\] for 2 images"),
        ({"logits_fn": lambda x: in_numpy(x) * next(calls)}, "must be in evaluation mode"),
        ({"logits_fn": lambda x: in_numpy(x) - in_numpy(x).mean(axis=0)}, "in evaluation mode"),
        ({"logits_fn": 3}, "logits_fn = 3: must be a callable"),
        ({"images": IMAGES // 255}, "images: largest value is 1 of uint8, must be up to 255"),
        (
            {"images": IMAGES / 255.0**2},
            "images: largest value is 0.00392 of float32, must be up to",
        ),
        (
            {"images": np.where(IMAGES > 9, IMAGES / 255, np.nan)},
            "images: has values that are not f",
        ),
        (
            {"validation": (IMAGES, LABELS)},
            "validation: are the test images, must be held-out images",
        ),
        ({"ood": {"grey": IMAGES[..., :1]}}, r"grey: has images \[8, 8, 1\], must be \[8, 8, 3\]"),
        ({"name": "a\nb"}, r"name = 'a\\nb': must be printable text"),
        ({"dataset": ""}, "dataset = '': must be printable text"),
        ({"attack_eps": 8}, r"attack_eps = 8: must lie in \[0, 1\]"),
        ({"linearity_eps": (0.1, 8)}, r"linearity_eps\[1\] = 8: must lie in \[0, 1\]"),
        ({"corruptions": ["frog"]}, r"corruptions\[0\] = 'frog': must be one of"),
    ],
)
def test_what_would_be_measured_wrongly_is_refused(changes, message):
    given = {"logits_fn": in_numpy, "images": IMAGES, "labels": LABELS, **QUIET, **changes}
    with pytest.raises((ValueError, TypeError), match=message):
        evaluate(given.pop("logits_fn"), given.pop("images"), given.pop("labels"), **given)


def test_a_torch_module_is_run_without_gradients_and_not_while_it_trains(of_jax):
    torch = pytest.importorskip("torch")
    module = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(len(WEIGHT), K, bias=False))
    order = np.arange(len(WEIGHT)).reshape(SIDE, SIDE, 3).transpose(2, 0, 1).ravel()
    with torch.no_grad():
        module[1].weight.copy_(torch.from_numpy(WEIGHT[order].T.copy()))
    planes = torch.from_numpy(IMAGES.transpose(0, 3, 1, 2) / np.float32(255))
    with pytest.raises(ValueError, match="training mode"):
        evaluate(module, planes, LABELS, layout="NCHW", **QUIET)
    found = evaluate(module.eval(), planes, torch.from_numpy(LABELS), layout="NCHW", **QUIET)
    assert values(found)["nll"] == pytest.approx(values(of_jax)["nll"], rel=1e-4)
