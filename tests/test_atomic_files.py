"""Files are whole or as they were, and JSON is what JSON is."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from varmixup_jax import atomic_files
from varmixup_jax.atomic_files import dumps, loads, write_arrays, write_json


def test_write_json_round_trips_and_replaces(tmp_path):
    path = tmp_path / "deep" / "summary.json"
    value = {"a": np.float32(0.5), "b": (1, np.int64(2)), "c": Path("x/y"), "d": math.nan}
    assert write_json(path, value | {"e": np.arange(3), "f": {"g": None, "h": True}}) == path
    assert json.loads(path.read_text()) == {
        "a": 0.5, "b": [1, 2], "c": "x/y", "d": None, "e": [0, 1, 2], "f": {"g": None, "h": True},
    }  # fmt: skip
    write_json(path, {"a": 1})
    assert json.loads(path.read_text()) == {"a": 1}
    assert [p.name for p in path.parent.iterdir()] == ["summary.json"]


@pytest.mark.parametrize("stage", ["fsync", "replace"])
def test_write_json_leaves_the_old_file_when_it_fails(tmp_path, monkeypatch, stage):
    path = write_json(tmp_path / "config.json", {"old": True})

    def fail(*args):
        raise OSError("disk full")

    monkeypatch.setattr(atomic_files.os, stage, fail)
    with pytest.raises(OSError, match="disk full"):
        write_json(path, {"new": True})
    assert json.loads(path.read_text()) == {"old": True}
    assert [p.name for p in tmp_path.iterdir()] == ["config.json"]


def test_write_json_refuses_what_json_has_not(tmp_path):
    with pytest.raises(TypeError, match="a value of type object has no JSON form"):
        write_json(tmp_path / "x.json", {"a": object()})
    assert list(tmp_path.iterdir()) == []


def test_arrays_that_cannot_be_written_whole_leave_the_old_ones(tmp_path, monkeypatch):
    write_arrays(tmp_path / "x.npz", {"a": np.arange(3)})

    def breaks(handle, **_):
        handle.write(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr(np, "savez_compressed", breaks)
    with pytest.raises(OSError, match="No space left"):
        write_arrays(tmp_path / "x.npz", {"a": np.arange(4)})
    with np.load(tmp_path / "x.npz") as arrays:
        assert len(arrays["a"]) == 3


@pytest.mark.parametrize("value", [math.nan, math.inf, np.float32(-np.inf), np.array([np.nan])])
def test_no_text_has_a_number_that_json_has_not(value):
    assert json.loads(dumps([value]), parse_constant=pytest.fail) in ([None], [[None]])


@pytest.mark.parametrize("word", ["NaN", "Infinity", "-Infinity"])
def test_what_python_alone_takes_for_a_number_is_refused(word):
    with pytest.raises(ValueError, match=f"^{word} is not JSON, must be a finite number or null$"):
        loads(f'{{"psnr": {word}}}')
