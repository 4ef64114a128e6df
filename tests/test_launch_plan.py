"""The runs of a sweep and their command lines, and what a sweep refuses."""

import json
import sys

import pytest
from stand_ins import executable
from sweeps import RECIPE, ROOT, TINY

from varmixup_jax.config import freeze
from varmixup_jax.launch import sweep
from varmixup_jax.launch.plan import _config as plan_config
from varmixup_jax.launch.plan import plan
from varmixup_jax.runs import run_directory


@pytest.fixture(autouse=True)
def _in_a_clone(monkeypatch):
    monkeypatch.chdir(ROOT)


def test_runs_are_laid_out_as_main_does(tmp_path):
    made = plan(RECIPE, "erm,varmixup", "3,0", tmp_path, TINY)
    assert [job.name for job in made.jobs] == ["erm-s3", "varmixup-s3", "erm-s0", "varmixup-s0"]
    assert [job.place for job in made.jobs] == [tmp_path / job.name for job in made.jobs]
    assert made.baseline is made.jobs[0]
    assert made.jobs[1].words[3:] == (
        f"--config={RECIPE}",
        *TINY,
        "--config.method=varmixup",
        "--config.seeds=(3,)",
        f"--workdir={tmp_path / 'varmixup-s3'}",
    )
    assert not any(job.done for job in made.jobs)
    assert not list(tmp_path.iterdir())


def test_methods_and_seeds_default_to_the_recipes(tmp_path):
    made = plan("configs/digits.py:mixup,at", "", "", tmp_path)
    assert [job.name for job in made.jobs] == ["mixup-s0", "at-s0"]
    assert made.baseline is None


def test_named_runs_have_fields_of_their_own(tmp_path):
    narrow = "narrow varmixup vae.width=4 epochs=2"
    made = plan(RECIPE, "varmixup", "0,1", tmp_path, TINY, "narrow", ["plain erm", narrow])
    assert [job.name for job in made.jobs] == [
        *("varmixup-s0", "plain-s0", "narrow-s0"),
        *("varmixup-s1", "plain-s1", "narrow-s1"),
    ]
    assert made.baseline is made.jobs[2]
    fields = "--config.vae.width=4", "--config.epochs=2"
    assert made.jobs[5].words[3:] == (
        *(f"--config={RECIPE}", *TINY, *fields),
        *("--config.method=varmixup", "--config.seeds=(1,)", f"--workdir={tmp_path / 'narrow-s1'}"),
    )
    alone = plan(RECIPE, "", "", tmp_path, TINY, None, [narrow])
    assert [job.name for job in alone.jobs] == ["narrow-s0"]


def test_a_named_run_is_compared_with_what_its_directory_holds(tmp_path):
    config = plan_config(RECIPE, [*TINY, "--config.epochs=2"], "")
    fields = run_directory.run_config(freeze(config), "erm", 0)
    (tmp_path / "long-s0").mkdir()
    (tmp_path / "long-s0" / "config.json").write_text(json.dumps(fields))
    plan(RECIPE, "", "", tmp_path, TINY, None, ["long erm epochs=2"])  # over the epochs of TINY
    with pytest.raises(ValueError, match=r"epochs = 3.0 \(there: 2.0\)"):
        plan(RECIPE, "", "", tmp_path, TINY, None, ["long erm epochs=3"])


REFUSED = [
    (("--run=half",), "--run = 'half': must be NAME METHOD [FIELD=VALUE ...]"),
    (("--run=a/b erm",), "--run = 'a/b erm': must be NAME METHOD"),
    (("--run=x erm,mixup",), "must name one method"),
    (("--run=x ermm",), "did you mean erm"),
    (("--run=x erm epochs",), "'--config.epochs': not understood"),
    (("--run=x erm epoch=2",), "config.epoch: no such field (did you mean epochs"),
    (("--run=x erm seeds=3",), "must be given as --seeds"),
    (("--run=x erm", "--run=x mixup"), "--run = 'x': must be distinct"),
    (("--methods=erm", "--run=erm erm epochs=2"), "--run = 'erm': must be distinct"),
    (("--run=x erm", "--baseline=erm"), "--baseline = 'erm': must be one of x"),
    (("--methods=ermm",), "did you mean erm"),
    (("--seeds=a",), "--seeds = 'a': must be whole numbers"),
    (("--seeds=1,1",), "must be distinct"),
    (("--seeds=-1",), "must be whole numbers >= 0"),
    (("--parallel=0",), "--parallel = 0: must be a whole number >= 1"),
    (("--budget=0",), "--budget = 0.0: must be > 0"),
    (("--budget=soon",), "'soon'"),
    (("--budget=60", "--on=slurm"), "--budget = 60: is for --on=local"),
    (("--on=moon",), "'moon'"),
    (("--gpus=-1",), "--gpus = -1"),
    (("--sbatch=account",), "must be NAME=VALUE"),
    (("--config.epoch=3",), "config.epoch: no such field (did you mean epochs"),
    (("--config.epochs=0",), "config.epochs = 0.0: must be > 0"),
    (("--config.seeds=3",), "must be given as --seeds"),
    (("--config.method=erm",), "must be given as --methods"),
    (("--config.epochs", "3"), "'--config.epochs': not understood"),
    (("--baseline=mixup",), "--baseline = 'mixup': must be one of varmixup"),
    (("stray",), "'stray': not understood"),
    (("--config=configs/digitz.py",), "configs/digitz.py"),
]


@pytest.mark.parametrize(("words", "message"), REFUSED, ids=[" ".join(w) for w, _ in REFUSED])
def test_bad_words_are_refused_in_one_line(words, message, tmp_path, capsys):
    arguments = [f"--config={RECIPE}", f"--workdir={tmp_path / 'runs'}", *words]
    assert sweep.main(arguments) == 2
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 1
    assert errors[0].startswith("error: ")
    assert message in errors[0]
    assert not (tmp_path / "runs").exists()


def test_a_directory_with_another_configuration_is_refused(tmp_path, capsys):
    place = tmp_path / "erm-s0"
    place.mkdir()
    (place / "config.json").write_text(json.dumps({"epochs": 3.0}))
    arguments = [f"--config={RECIPE}", "--methods=erm", f"--workdir={tmp_path}"]
    assert sweep.main(arguments) == 2
    assert "another configuration: " in capsys.readouterr().err


# The real SLURM is in tests/cluster.
@pytest.mark.parametrize("there", [False, True])
def test_what_slurm_needs_is_named(there, tmp_path, monkeypatch, capsys):
    if there:
        for name in ("sbatch", "squeue"):
            executable(tmp_path / name, "#!/bin/sh\n")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(sys.modules, "submitit", None)
    arguments = [f"--config={RECIPE}", f"--workdir={tmp_path / 'runs'}", "--on=slurm"]
    assert sweep.main(arguments) == 2
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 1
    needed = "pip install 'varmixup_jax[launch]'" if there else "there is no sbatch here"
    assert needed in errors[0]
