"""The command that evaluates a model of one's own, or its logits."""

import sys

import numpy as np
import pytest
from PIL import Image

import varmixup_jax
import varmixup_jax.evaluate as evaluate
from varmixup_jax import evaluate_model
from varmixup_jax.atomic_files import write_arrays
from varmixup_jax.report.rows import read_run

MODEL = """
import numpy as np
WEIGHT = np.random.default_rng(0).normal(size=(64, 10)).astype(np.float32)

def logits(batch):
    return np.asarray(batch).reshape(len(batch), -1) @ WEIGHT

def of_planes(batch):
    assert batch.shape[1:] == (1, 8, 8)
    return logits(batch)
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(evaluate_model.compilation, "configure", lambda: None)
    (tmp_path / "my_models.py").write_text(MODEL)
    np.save(tmp_path / "large.npy", np.zeros((3, 9, 9), np.uint8))
    (tmp_path / "cats" / "cat").mkdir(parents=True)
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "cats" / "cat" / "1.png")
    yield tmp_path
    sys.modules.pop("my_models", None)


def accuracy(place):
    return {
        (row.corruption, row.severity): row.value
        for row in read_run(place).rows
        if row.metric == "accuracy"
    }


def test_a_model_and_a_layout_and_settings_by_words(here, capsys):
    words = ["--data=digits", "--examples=50", "--quiet=true", "--bins=5", "--batch_size=25"]
    assert evaluate.main(["--model=my_models:logits", "--corruptions=none", "--out=a", *words]) == 0
    told = capsys.readouterr().out
    assert "accuracy" in told
    assert "page: a/report.html" in told
    assert (here / "a" / "report.html").is_file()
    words += ["--layout=NCHW", "--corruptions=brightness,contrast", "--name=mine"]
    assert evaluate.main(["--model=my_models:of_planes", "--out=b", *words]) == 0
    run, other = read_run(here / "a"), read_run(here / "b")
    assert (run.method, run.dataset, other.method) == ("my_models:logits", "digits", "mine")
    assert run.config["eval.bins"] == 5
    assert {row.count for row in run.rows if row.metric == "accuracy"} == {50}
    theirs = accuracy(here / "b")
    assert theirs["none", 0] == accuracy(here / "a")["none", 0]
    assert len(theirs) == 1 + 2 * 5


def metrics(place):
    return {row.metric: row.value for row in read_run(place).rows if row.corruption == "none"}


def test_a_temperature_and_other_sets_by_words(here):
    """Classes of a folder are those of the test set of the same name, whatever their order."""
    images = np.random.default_rng(1).integers(0, 255, (10, 8, 8), np.uint8)
    for number, image in enumerate(images):
        (here / "held" / str(number)).mkdir(parents=True)
        Image.fromarray(image).save(here / "held" / str(number) / "a.png")
    np.savez(here / "held.npz", images=images, labels=np.arange(10))
    np.save(here / "dark.npy", np.zeros((3, 8, 8), np.uint8))
    words = ["--model=my_models:of_planes", "--layout=NCHW", "--data=digits", "--quiet=true"]
    words += ["--corruptions=brightness", "--examples=20", "--ood=dark=dark.npy"]
    words += ["--ood=again=digits"]
    assert evaluate.main([*words, "--validation=held", "--out=a"]) == 0
    assert evaluate.main([*words, "--validation=held.npz", "--out=b"]) == 0
    found = metrics(here / "a")
    assert found.pop("temperature") == metrics(here / "b")["temperature"]
    assert found["nll_scaled"] < found["nll"]
    assert found["ood_auroc_dark"] == 1.0  # all logits of a black image are 0
    assert 0.3 < found["ood_auroc_again"] < 0.7
    assert read_run(here / "a").config["eval.validation_examples"] == 10
    assert len(accuracy(here / "a")) == 6  # one corruption by its name


def test_logits_with_a_temperature_and_other_sets(here):
    labels = np.array([0, 1, 1, 0])
    clean = np.array([[2.0, 0.0], [0.0, 3.0], [1.0, 0.0], [4.0, 0.0]])
    write_arrays(here / "l.npz", {"labels": labels, "clean": clean})
    write_arrays(here / "v.npz", {"labels": np.array([0, 0, 1]), "clean": np.eye(2)[[0, 0, 0]] * 2})
    write_arrays(here / "o.npz", {"clean": np.zeros((3, 2))})
    words = ["--logits=l.npz", "--validation=v.npz", "--ood=flat=o.npz", "--out=c"]
    assert evaluate.main(words) == 0
    found = metrics(here / "c")
    assert found["temperature"] == pytest.approx(2 / np.log(2))  # right twice of three
    assert (found["ood_auroc_flat"], found["ood_fpr95_flat"]) == (1.0, 0.0)


@pytest.mark.parametrize("words", [["--model", "--help"], ["--logits=x", "-h"]])
def test_help_behind_a_flag_of_this_command(words, capsys):
    assert evaluate.main(words) == 0
    assert "--linearity_examples" in capsys.readouterr().out


def test_logits_alone(here):
    labels = np.array([0, 1, 1])
    arrays = {"labels": labels, "clean": np.eye(2)[labels], "fog/3": np.eye(2)[[0, 1, 0]]}
    write_arrays(here / "l.npz", arrays)
    words = ["--logits=l.npz", "--name=theirs", "--dataset=toy"]
    assert evaluate.main([*words, "--outputs=probabilities", "--out=c"]) == 0
    assert accuracy(here / "c") == {("none", 0): 1.0, ("fog", 3): pytest.approx(2 / 3)}
    assert read_run(here / "c").dataset == "toy"


OURS = ["--model=my_models:logits", "--data=digits", "--out=x"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--model=my_models:logits", "--out=x"], "--data: is missing"),
        (["--model=a:b", "--logits=l.npz", "--out=x"], "--model, --logits: must be one of the two"),
        (["--model=my_models", "--data=digits", "--out=x"], "must be MODULE:FUNCTION"),
        (["--model=my_models:logit", "--data=digits", "--out=x"], "has no 'logit'"),
        (["--model=nowhere:f", "--data=digits", "--out=x"], "No module named 'nowhere'"),
        (["--logits=l.npz", "--out=x"], "l.npz: not a readable npz file"),
        (["--logits=l.npz", "--out=x", "--bin=3"], "--bin=3"),
        (["--logits=l.npz"], "--out"),
        (["--logits=l.npz", "--out=x", "--examples=3"], "--examples: does not apply to --logits"),
        (["--logits=l.npz", "--out=x", "--data=digits"], "--data: does not apply to --logits"),
        ([*OURS, "--quiet=yes"], "--quiet: invalid"),
        ([*OURS, "--linearity_eps=(1"], "--linearity_eps: invalid"),
        (
            [*OURS[:2], "--out=my_models.py/x"],
            "--out = my_models.py/x: must be a directory that can",
        ),
        ([*OURS, "--ood=dark"], "--ood = 'dark': must be NAME=FILE, as svhn=svhn.npz"),
        ([*OURS, "--ood=a=x", "--ood=a=y"], "--ood = a=...: was given before"),
        ([*OURS, "--ood=dark=large.npy"], "dark: has images [9, 9, 1], must be [8, 8, 1] as the"),
        ([*OURS, "--validation=cats"], "has the classes cat, ..., must be those of digits: 0, 1"),
    ],
)
def test_refusals_of_one_line(words, message, here, capsys):
    assert evaluate.main(words) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert message in error
    assert error.count("\n") == 1
    assert not (here / "x").exists()


def test_the_function_keeps_its_name_where_the_command_was_imported():
    images, labels = np.zeros((2, 8, 8, 1), np.uint8), np.array([0, 1])
    settings = {"corruptions": "none", "quiet": True}
    found = varmixup_jax.evaluate(
        lambda batch: np.asarray(batch)[:, :2, 0, 0], images, labels, **settings
    )
    assert found.evaluation.bins["none", 0].count.sum() == 2
    assert varmixup_jax.evaluate.main is evaluate.main
