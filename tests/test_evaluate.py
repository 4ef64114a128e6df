"""Runs that have ended are evaluated again: the same rows for the same fields, new ones for others."""

import json
import re
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest
from test_runs import darkened, npz, published, quick, rows, standard_promotion  # noqa: F401

import varmixup_jax.evaluate as evaluate
from varmixup_jax import corruptions, runs
from varmixup_jax.models.saved import FILE, load_model
from varmixup_jax.report import settings
from varmixup_jax.report.rows import read_runs
from varmixup_jax.report.same_data import by_data
from varmixup_jax.runs import reevaluate
from varmixup_jax.runs.reevaluate import evaluate_again


@pytest.fixture(scope="module")
def sweep(npz, tmp_path_factory):  # noqa: F811
    """Two methods, trained for a moment, and a run that never ended."""
    place = tmp_path_factory.mktemp("trained")
    with jax.numpy_dtype_promotion("standard"):
        config = quick(
            npz, place / "store", method="erm,varmixup", epochs=2.0, eval__attack_examples=6
        )
        config.eval.attack_steps = 2
        runs.run(config, place / "runs")
    unfinished = place / "runs" / "mixup-s0"
    unfinished.mkdir()
    for name in ("config", "summary"):
        content = json.loads((place / "runs" / "erm-s0" / f"{name}.json").read_text())
        content |= {"status": "running"} if name == "summary" else {}
        (unfinished / f"{name}.json").write_text(json.dumps(content))
    return place / "runs"


@pytest.fixture(autouse=True)
def drawn(monkeypatch):
    """The runs whose pictures would be drawn, which takes seconds; those of `sweep` have theirs."""
    places = []
    monkeypatch.setattr(reevaluate.report, "pictures", places.append)
    return places


def content(place):
    return {p: p.read_bytes() for p in sorted(place.rglob("*")) if p.is_file()}


def test_several_methods_end_in_a_comparison(sweep):
    page = (sweep / "report.html").read_text()
    table = (sweep / "report.md").read_text()
    for name in ("erm", "varmixup"):
        assert name in page
        assert f"| {name} |" in table
    reconstructed = "reconstruction_accuracy"
    assert reconstructed in {row["metric"] for row in rows(sweep / "varmixup-s0")}
    assert reconstructed not in {row["metric"] for row in rows(sweep / "erm-s0")}


def test_the_same_fields_give_the_same_rows(sweep, drawn, tmp_path):
    before = content(sweep)
    summaries = evaluate_again([sweep], tmp_path / "again", {"quiet": True})
    assert [s["run"] for s in summaries] == ["toy-erm-s0", "toy-varmixup-s0"]
    for name in ("erm-s0", "varmixup-s0"):
        assert rows(tmp_path / "again" / name) == rows(sweep / name)
        assert (sweep / name / "pictures").is_dir()
    assert drawn == [tmp_path / "again" / name for name in ("erm-s0", "varmixup-s0")]
    assert (tmp_path / "again" / "report.html").stat().st_size > 0
    assert content(sweep) == before


def test_a_run_that_was_trained_and_has_no_results_is_evaluated(sweep, tmp_path):
    place = tmp_path / "trained" / "erm-s0"
    shutil.copytree(sweep / "erm-s0", place)
    (place / "results.jsonl").unlink()
    summary = json.loads((place / "summary.json").read_text())
    (place / "summary.json").write_text(json.dumps(summary | {"status": "running"}))
    evaluate_again([place], tmp_path / "out", {"quiet": True, "eval.attack_examples": 0})
    found, expected = rows(tmp_path / "out" / "erm-s0"), rows(sweep / "erm-s0")
    assert found == [row for row in expected if "pgd" not in row["metric"]]


def test_other_fields_give_new_rows_and_are_noted(sweep, published, tmp_path, monkeypatch):  # noqa: F811
    """Files of corrupted images, and as many of them as of the test images."""
    monkeypatch.setattr(corruptions, "corrupt", darkened)  # of one image, for the page
    changes = {"eval.corruptions": str(published), "eval.examples": 10, "eval.bins": 5}
    changes["eval.attack_examples"] = 0
    (summary,) = evaluate_again([sweep / "erm-s0"], tmp_path / "c", changes)
    found = rows(tmp_path / "c" / "erm-s0")
    assert not any("pgd" in r["metric"] for r in found)
    assert {r["count"] for r in found if "class_" not in r["metric"]} == {10}
    nll = {(r["corruption"], r["severity"]): r["value"] for r in found if r["metric"] == "nll"}
    assert len(nll) == 1 + 75
    black = nll.pop(("fog", 5))
    assert max(nll.values()) - min(nll.values()) < 1e-6 < abs(black - nll["none", 0])
    corrupted = [r for r in found if r["corruption"] != "none"]
    assert {r["corruption_source"] for r in corrupted} == {"files"}
    assert {r["frost_source"] for r in corrupted if r["corruption"] == "frost"} == {"files"}
    assert summary["measured_in"] == run_summary(sweep / "erm-s0")["measured_in"]
    assert summary["measured_in"] == "float32, highest"
    assert summary["evaluated_from"] == str(sweep / "erm-s0")
    config = json.loads((tmp_path / "c" / "erm-s0" / "config.json").read_text())
    assert (config["eval"]["bins"], config["epochs"]) == (5, 2.0)
    time = (tmp_path / "c" / "erm-s0" / "results.jsonl").stat().st_mtime_ns
    evaluate_again([sweep / "erm-s0"], tmp_path / "c", changes)  # done there: not repeated
    assert (tmp_path / "c" / "erm-s0" / "results.jsonl").stat().st_mtime_ns == time
    with pytest.raises(ValueError, match=r"another configuration: config\.eval\.bins = 6"):
        evaluate_again([sweep / "erm-s0"], tmp_path / "c", {**changes, "eval.bins": 6})


def test_the_model_file_of_a_run_is_the_model_that_was_evaluated(sweep, npz):  # noqa: F811
    model = load_model(sweep / "varmixup-s0")
    with np.load(npz) as arrays:
        image, label = arrays["x_test"].astype(np.float32) / 255, arrays["y_test"]
    (clean,) = (r for r in rows(sweep / "varmixup-s0") if r["metric"] == "accuracy")
    right = np.mean(np.argmax(model.logits(image), axis=1) == label)
    assert right == pytest.approx(clean["value"])
    assert model.about["method"] == "varmixup"


def altered(npz, place, **fields):  # noqa: F811
    """A set like the one that was trained on, of the same name elsewhere, with other arrays."""
    place.mkdir()
    with np.load(npz) as arrays:
        np.savez(place / npz.name, **{**arrays, **fields})
    return place / npz.name


def test_data_that_moved_are_the_same_data(sweep, npz, tmp_path):  # noqa: F811
    """The same file by another path was refused, on resuming and on evaluation alike."""
    moved = f"npz:{altered(npz, tmp_path / 'elsewhere')}"
    changes = {"quiet": True, "data.source": moved}
    evaluate_again([sweep / "erm-s0"], tmp_path / "out", changes)
    assert rows(tmp_path / "out" / "erm-s0") == rows(sweep / "erm-s0")
    shutil.copytree(sweep / "erm-s0", tmp_path / "run")
    saved = json.loads((tmp_path / "run" / "config.json").read_text())
    config = quick(npz, saved["vae"]["store"], epochs=2.0, eval__attack_examples=6)
    config.eval.attack_steps, config.data.source = 2, moved
    (summary,) = runs.run(config, tmp_path / "run")  # done there: not repeated
    assert summary["wall_seconds"] == run_summary(sweep / "erm-s0")["wall_seconds"]
    pages = by_data(read_runs([sweep / "erm-s0", tmp_path / "out"]))
    assert len({settings.identity({**run.config, "eval": 0}) for run in pages}) == 1


def run_summary(place):
    return json.loads((place / "summary.json").read_text())


def other_arrays(npz):  # noqa: F811
    with np.load(npz) as arrays:
        x_test, y_test, y_train = arrays["x_test"], arrays["y_test"], arrays["y_train"]
    return {
        "test labels": ({"y_test": np.roll(y_test, 1)}, "labels or images of test"),
        "test images": ({"x_test": x_test ^ 1}, "the images of test are"),
        "training labels": ({"y_train": np.roll(y_train, 1)}, "labels or images of train "),
    }


@pytest.mark.parametrize("kind", ["test labels", "test images", "training labels"])
def test_data_that_changed_are_other_data(kind, sweep, npz, tmp_path):  # noqa: F811
    """Only the configuration was compared: a set changed in its place passed for the same."""
    arrays, message = other_arrays(npz)[kind]
    changed = f"npz:{altered(npz, tmp_path / 'changed', **arrays)}"
    with pytest.raises(ValueError, match=message):
        evaluate_again([sweep / "erm-s0"], tmp_path / "out", {"data.source": changed})
    place = tmp_path / "run"  # interrupted
    shutil.copytree(sweep / "erm-s0", place)
    saved = json.loads((place / "config.json").read_text())
    saved["data"]["source"] = changed
    (place / "config.json").write_text(json.dumps(saved))
    (place / "summary.json").write_text(json.dumps({**run_summary(place), "status": "running"}))
    before = content(place)
    config = quick(npz, saved["vae"]["store"], epochs=2.0, eval__attack_examples=6)
    config.eval.attack_steps, config.data.source = 2, changed
    with pytest.raises(ValueError, match=rf"{place} holds a run on other data: .*{message}"):
        runs.run(config, place)
    assert content(place) == before


def test_a_run_that_does_not_tell_its_data_is_evaluated_where_it_was(sweep, npz, tmp_path):  # noqa: F811
    old = tmp_path / "old"
    shutil.copytree(sweep / "erm-s0", old)
    (old / "summary.json").write_text(json.dumps({**run_summary(old), "data": None}))
    with np.load(old / FILE) as arrays:
        about = json.loads(str(arrays["about"]))
        kept = {**arrays, "about": np.array(json.dumps({**about, "data": None}))}
    np.savez(old / FILE, **kept)
    moved = f"npz:{altered(npz, tmp_path / 'elsewhere')}"
    with pytest.raises(ValueError, match="does not record the sha256 of its data"):
        evaluate_again([old], tmp_path / "out", {"data.source": moved})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 3.0}, "config.epochs: belongs to what was trained, must be one of config.eval"),
        ({"vae.width": 8}, "config.vae.width: belongs to what was trained"),
        ({"eval.bins": 0}, "config.eval.bins = 0: must be a whole number >= 1"),
        ({"eval.corruptions": "/nowhere"}, "/nowhere"),
    ],
)
def test_fields_that_cannot_be_changed_are_refused(changes, message, sweep, tmp_path):
    with pytest.raises(ValueError, match=re.escape(message)):
        evaluate_again([sweep], tmp_path / "out", {"quiet": True, **changes})
    assert not (tmp_path / "out").exists()


def test_places_that_do_not_do_are_refused(sweep, tmp_path):
    with pytest.raises(ValueError, match="holds no run that has ended"):
        evaluate_again([sweep / "mixup-s0"], tmp_path / "out", {})
    with pytest.raises(ValueError, match=r"holds .*erm-s0 itself, must be another directory"):
        evaluate_again([sweep], sweep, {})
    twin = tmp_path / "twin" / "erm-s0"
    twin.mkdir(parents=True)
    for name in ("config.json", "summary.json", "results.jsonl", FILE):
        (twin / name).write_bytes((sweep / "erm-s0" / name).read_bytes())
    with pytest.raises(ValueError, match="'erm-s0' is the name of several runs"):
        evaluate_again([sweep, twin], tmp_path / "out", {})
    (twin / FILE).write_bytes(b"")
    with pytest.raises(ValueError, match=r"model\.npz: is not a model file"):
        evaluate_again([twin], tmp_path / "out", {})
    assert not (tmp_path / "out").exists()


def test_the_command_line_reads_fields_of_their_types():
    words = ["runs/a", "--out=b", "--config.eval.linearity_eps=(0.1,)", "--config.eval.bins", "7"]
    options, words = evaluate.parser().parse([*words, "--noconfig.quiet"])
    assert (options.runs, options.out) == ([Path("runs/a")], Path("b"))
    changes = {"eval.linearity_eps": (0.1,), "eval.bins": 7, "quiet": False}
    assert evaluate.changed_fields(words) == changes


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--out=x"], "required: RUN"),
        (["runs/a"], "required: --out"),
        (["runs/a", "--out=x", "--import=nowhere"], "--import = 'nowhere'"),
        (["runs/a", "--out=x", "--bascline=erm"], "did you mean --baseline"),
        (["nowhere", "--out=x"], "nowhere: not a directory"),
        (["a", "--out=x", "--config.eval.bin=3"], "no such field (did you mean bins"),
        (["a", "--out=x", "--config.eval.bins=many"], "config.eval.bins"),
        (["a", "--out=x", "--cluster=none"], "cluster"),
    ],
)
def test_the_command_refuses_in_one_line(words, message, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(evaluate.compilation, "configure", lambda **_: None)
    monkeypatch.setattr(evaluate.PREEMPTION, "install", lambda: None)
    assert evaluate.main(words) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert message in error
    assert not list(tmp_path.iterdir())
