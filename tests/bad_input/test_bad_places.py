"""Places where a run cannot be: files, other runs, somebody else's; nothing in them changes."""

import json
import os
from unittest import mock

import pytest
from damages import write

from varmixup_jax.config import base_config, freeze
from varmixup_jax.runs import run_directory, setup

ERM = ["--config=configs/digits.py:erm"]


def test_the_place_of_the_run_is_a_file(refuses_run, tmp_path):
    place = tmp_path / "run"
    place.write_text("mine")
    for workdir in (place, place / "inside", place / "far" / "inside"):
        refuses_run([*ERM, f"--workdir={workdir}"], f"workdir {workdir}")


@pytest.mark.parametrize("place", ["gs://bucket/run", "s3://bucket/run", "~nobody-here/run"])
def test_the_place_of_the_run_is_not_of_this_machine(place, refuses_run, tmp_path, monkeypatch):
    refuses_run([*ERM, f"--workdir={place}"], "workdir", place.split("/")[0], "must be a")


def test_the_platform_is_not_there(refuses_run, monkeypatch):
    for error in (AssertionError(), RuntimeError("Unable to initialize backend 'cuda'")):
        monkeypatch.setattr(setup.jax, "devices", mock.Mock(side_effect=error))
        monkeypatch.setenv("JAX_PLATFORMS", "cuda")
        refuses_run(ERM, "JAX_PLATFORMS = 'cuda'", str(error))


def test_the_place_of_the_run_cannot_be_written(refuses_run, tmp_path, monkeypatch):
    refuses_run([*ERM, f"--workdir={tmp_path / ('x' * 300)}"], "xxx")
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    refuses_run(ERM, "workdir", "written")


def fields(**changes):
    c = base_config()
    c.update_from_flattened_dict(changes)
    return run_directory.run_config(freeze(c), "erm", 0)


THERE = {
    "not_json": ("{", "config.json", "JSON"),
    "empty": ("", "config.json", "JSON"),
    "a_list": ("[1, 2]", "config.json", "holds a list"),
    "a_number": ("5", "config.json", "holds a int"),
    "null": ("null", "config.json", "holds a NoneType"),
    "deep": ("[" * 100_000, "config.json", "JSON"),
    "no_fields": ("{}", "another configuration", "and", "more"),
    "sections_that_are_numbers": ('{"data": 3, "vae": null}', "another configuration"),
    "another": (json.dumps(fields(epochs=7.0)), "config.epochs"),
    "much_text": (json.dumps(fields() | {"x": "y" * 10_000}), "another configuration"),
    "bytes": (b"\xff\xfe{}", "config.json"),
}


@pytest.mark.parametrize("kind", THERE)
@pytest.mark.parametrize(("method", "place"), [("erm", "run"), ("erm,mixup", "run/mixup-s0")])
def test_the_place_holds_something_else(kind, method, place, refuses_run, tmp_path):
    content, *names = THERE[kind]
    write(f"{place}/config.json", content)(tmp_path)
    write(f"{place}/notes.txt", "mine")(tmp_path)
    refuses_run([f"--config=configs/digits.py:{method}"], *names)


def test_the_configuration_is_a_directory(refuses_run, tmp_path):
    (tmp_path / "run" / "config.json").mkdir(parents=True)
    refuses_run(ERM, "config.json")


def test_the_place_is_in_use(refuses_run, tmp_path):
    with run_directory.claimed(tmp_path / "run"):
        refuses_run(ERM, str(tmp_path / "run"), "another run")
