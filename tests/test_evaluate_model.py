"""The command that evaluates a model of one's own, or its logits."""

import sys

import numpy as np
import pytest

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
    monkeypatch.setattr(evaluate_model, "enable", lambda: None)
    (tmp_path / "my_models.py").write_text(MODEL)
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
