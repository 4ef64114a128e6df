"""What a run leaves in its directory, and whose directory it is."""

import json
import subprocess

import numpy as np
import pytest

from varmixup_jax.config import base_config, freeze
from varmixup_jax.runs import run_directory


def fields(seed=0, **changes):
    config = base_config()
    config.update_from_flattened_dict(changes)
    return run_directory.run_config(freeze(config), "mixup", seed)


def test_a_run_keeps_the_settings_of_its_own_method_only():
    assert list(fields()["methods"]) == ["mixup"]
    assert (fields(3)["seed"], fields(3)["seeds"]) == (3, [3])


def test_a_directory_belongs_to_one_configuration_and_seed(tmp_path):
    run_directory.check_same(tmp_path, fields())  # nothing there
    (tmp_path / "config.json").write_text('{"epochs": NaN}')
    with pytest.raises(ValueError, match=r"config\.json: not JSON \(NaN"):
        run_directory.check_same(tmp_path, fields())
    (tmp_path / "config.json").write_text(json.dumps(fields()))
    run_directory.check_same(tmp_path, fields())
    run_directory.check_same(tmp_path, fields(quiet=True))  # not a setting of the run
    run_directory.check_same(tmp_path, fields(**{"eval.bins": 5}))  # it has no results yet
    for name, value in {"eval.bins": 5, "eval.every_epochs": 2.0}.items():
        if name == "eval.bins":
            run_directory.write(tmp_path, summary={"status": "done"})
            (tmp_path / "results.jsonl").touch()
        with pytest.raises(run_directory.Incompatible, match=rf": config.{name} = {value} "):
            run_directory.check_same(tmp_path, fields(**{name: value}))
        (tmp_path / "results.jsonl").unlink(missing_ok=True)
    with pytest.raises(run_directory.Incompatible, match=r": config.seed = 1 \(there: 0\)$"):
        run_directory.check_same(tmp_path, fields(1))
    with pytest.raises(run_directory.Incompatible, match=r": config.epochs = 7.0 \(there: .*\)$"):
        run_directory.check_same(tmp_path, fields(epochs=7.0))


def test_a_directory_is_held_by_one_run_at_a_time(tmp_path):
    with run_directory.claimed(tmp_path / "run"):
        with (
            pytest.raises(run_directory.Incompatible, match="run: another run is using it"),
            run_directory.claimed(tmp_path / "run"),
        ):
            pytest.fail("claimed twice")
        with run_directory.claimed(tmp_path / "other"):
            pass
    with run_directory.claimed(tmp_path / "run"):
        pass


def test_a_run_that_goes_on_elsewhere_says_so(tmp_path):
    assert run_directory.moved(tmp_path, "1 x cpu") == ""
    (tmp_path / "summary.json").write_text('{"device": "1 x cpu"}')
    assert run_directory.moved(tmp_path, "1 x cpu") == ""
    assert "started on 1 x cpu, resumed on 8 x TPU" in run_directory.moved(tmp_path, "8 x TPU")


def test_a_run_has_ended_when_its_results_are_there(tmp_path):
    run_directory.write(tmp_path, summary={"status": "done", "run": "erm-s0"})
    assert run_directory.finished_run(tmp_path) is None
    run_directory.write_results(
        tmp_path, [{"metric": "ece", "value": 0.5}], {"a": np.arange(3)}, {}
    )
    assert run_directory.finished_run(tmp_path) == "erm-s0"
    assert json.loads((tmp_path / "results.jsonl").read_text()) == {"metric": "ece", "value": 0.5}
    infinite = {"metric": "nll", "value": np.inf}
    run_directory.write_results(tmp_path, [infinite], {"a": np.arange(3)}, {})
    text = '{"metric": "nll", "value": null, "not_finite": "inf"}\n'
    assert (tmp_path / "results.jsonl").read_text() == text
    with np.load(tmp_path / "artifacts.npz") as arrays:
        np.testing.assert_array_equal(arrays["a"], np.arange(3))
    run_directory.write(tmp_path, summary={"status": "failed", "run": "erm-s0"})
    assert run_directory.finished_run(tmp_path) is None


def test_the_commit_is_of_the_packages_own_repository(tmp_path, monkeypatch):
    """Installed inside somebody's project it is not that project's."""
    place = tmp_path / "venv" / "varmixup_jax"
    place.mkdir(parents=True)
    (place / "run_directory.py").touch()
    (tmp_path / "theirs.py").touch()

    def git(*words):
        who = ("-c", "user.name=a", "-c", "user.email=a@b.c")
        subprocess.run(["git", *who, *words], cwd=tmp_path, check=True, capture_output=True)

    monkeypatch.setattr(run_directory, "__file__", str(place / "run_directory.py"))
    assert run_directory.provenance()["git"] == ""
    git("init", "-q")
    git("add", "theirs.py")
    git("commit", "-qm", "theirs")
    assert run_directory.provenance()["git"] == ""
    git("add", ".")
    git("commit", "-qm", "ours")
    commit = run_directory.provenance()["git"]
    assert len(commit) == 12
    assert set(commit) <= set("0123456789abcdef")
