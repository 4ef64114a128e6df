"""What a run leaves in its directory, and whose directory it is."""

import json

import numpy as np
import pytest

from varmixup_jax.config import base_config
from varmixup_jax.experiment import rundir


def fields(seed=0, **changes):
    config = base_config()
    config.update_from_flattened_dict(changes)
    return rundir.run_config(config, "mixup", seed)


def test_a_run_keeps_the_settings_of_its_own_method_only():
    assert list(fields()["methods"]) == ["mixup"]
    assert (fields(3)["seed"], fields(3)["seeds"]) == (3, [3])


def test_a_directory_belongs_to_one_configuration_and_seed(tmp_path):
    rundir.check_same(tmp_path, fields())  # nothing there
    (tmp_path / "config.json").write_text(json.dumps(fields()))
    rundir.check_same(tmp_path, fields())
    rundir.check_same(tmp_path, fields(quiet=True))  # not a setting of the run
    with pytest.raises(rundir.Incompatible, match=r": config.seed = 1 \(there: 0\)$"):
        rundir.check_same(tmp_path, fields(1))
    with pytest.raises(rundir.Incompatible, match=r": config.epochs = 7.0 \(there: .*\)$"):
        rundir.check_same(tmp_path, fields(epochs=7.0))


def test_a_directory_is_held_by_one_run_at_a_time(tmp_path):
    with rundir.claimed(tmp_path / "run"):
        with (
            pytest.raises(rundir.Incompatible, match="run: another run is using it"),
            rundir.claimed(tmp_path / "run"),
        ):
            pytest.fail("claimed twice")
        with rundir.claimed(tmp_path / "other"):
            pass
    with rundir.claimed(tmp_path / "run"):
        pass


def test_a_run_that_goes_on_elsewhere_says_so(tmp_path):
    assert rundir.moved(tmp_path, "1 x cpu") == ""
    (tmp_path / "summary.json").write_text('{"device": "1 x cpu"}')
    assert rundir.moved(tmp_path, "1 x cpu") == ""
    assert "begun on 1 x cpu, goes on on 8 x TPU" in rundir.moved(tmp_path, "8 x TPU")


def test_a_run_has_ended_when_its_results_are_there(tmp_path):
    rundir.write(tmp_path, summary={"status": "done", "run": "erm-s0"})
    assert rundir.finished_run(tmp_path) is None
    rundir.write_results(tmp_path, [{"metric": "ece", "value": 0.5}], {"a": np.arange(3)})
    assert rundir.finished_run(tmp_path) == "erm-s0"
    assert json.loads((tmp_path / "results.jsonl").read_text()) == {"metric": "ece", "value": 0.5}
    with np.load(tmp_path / "artifacts.npz") as arrays:
        np.testing.assert_array_equal(arrays["a"], np.arange(3))
    rundir.write(tmp_path, summary={"status": "failed", "run": "erm-s0"})
    assert rundir.finished_run(tmp_path) is None


def test_arrays_that_cannot_be_written_whole_leave_the_old_ones(tmp_path, monkeypatch):
    rundir.write_arrays(tmp_path / "x.npz", {"a": np.arange(3)})

    def breaks(handle, **_):
        handle.write(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr(rundir.np, "savez_compressed", breaks)
    with pytest.raises(OSError, match="No space left"):
        rundir.write_arrays(tmp_path / "x.npz", {"a": np.arange(4)})
    with np.load(tmp_path / "x.npz") as arrays:
        assert len(arrays["a"]) == 3
