"""Run directories with damaged files and checkpoints, as the trainer finds them again."""

import gc
import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from damages import bomb_array, bomb_bytes, remove, write
from ml_collections import ConfigDict
from refusing import check_line, refused, tree

from varmixup_jax.config import base_config, freeze
from varmixup_jax.runs import run_directory, vae_store
from varmixup_jax.runs.sweep import run
from varmixup_jax.training import damage
from varmixup_jax.training.checkpoints import Checkpoints
from varmixup_jax.validation import chosen_devices

# Orbax's coroutines complain when they are collected after their event loop.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

RESULT = json.dumps({"metric": "accuracy"}) + "\n"
SUMMARIES = [
    None, "", '{"status": "do', "done", '["done"]', "5", "null", '"status"', "{}",
    '{"status": "running"}', '{"status": "failed"}', '{"status": ["done"]}', "[" * 50_000, b"\xff\xfe{}",
]  # fmt: skip
DONE = '{"status": "done"}'


@pytest.mark.parametrize("summary", [*SUMMARIES, DONE], ids=lambda s: str(s)[:20])
def test_a_damaged_summary_is_not_a_finished_run(summary, tmp_path):
    if summary is not None:
        write("summary.json", summary)(tmp_path)
    if summary != DONE:
        write("results.jsonl", RESULT)(tmp_path)
    before = tree(tmp_path)
    assert not run_directory.is_done(tmp_path)
    assert tree(tmp_path) == before
    write("results.jsonl", RESULT)(tmp_path)
    assert run_directory.is_done(tmp_path) == (summary == DONE)


@pytest.mark.parametrize("value", [None, "1", 0.5, -1, 99, True])
def test_devices(value):
    c = base_config()
    with c.parallel.unlocked(), c.parallel.ignore_type():
        c.parallel.devices = value
    with refused("config.parallel.devices"):
        run(c, "/nowhere")


@pytest.mark.parametrize("config", [None, {}, ConfigDict(), ConfigDict({"method": "erm"}), "erm"])
def test_run_takes_configurations_only(config, tmp_path):
    with refused("config", untouched=[tmp_path]):
        run(config, tmp_path / "run")


def test_all_devices_by_default():
    assert len(chosen_devices(freeze(base_config()).parallel)) == jax.device_count()


STATE = {"w": jnp.arange(6.0).reshape(2, 3), "step": jnp.asarray(3)}


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """One checkpoint, of step 3."""
    root = tmp_path_factory.mktemp("saved") / "checkpoints"
    with Checkpoints(root, keep=2, best=False) as checkpoints:
        checkpoints.save(3, STATE)
    return root


@pytest.fixture
def root(saved, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(damage, "PAUSES", (0.0,))
    return shutil.copytree(saved, tmp_path / "checkpoints")


def restored(root, like=STATE):
    with Checkpoints(root, keep=2, best=False) as checkpoints:
        return checkpoints.restore_latest(like)


FOREIGN = ["notes.txt", "abc/state/x", ".hidden", "03x/y", "-1/state/z", "3.tmp/x", "summary.json"]


@pytest.mark.parametrize("name", FOREIGN)
def test_foreign_files_beside_checkpoints_do_no_harm(name, root):
    write(name, bomb_bytes(root / "exploded"))(root)
    np.testing.assert_array_equal(restored(root)["w"], STATE["w"])
    assert (root / name).exists()
    assert not (root / "exploded").exists()


def each_file(change):
    def apply(root):
        for path in sorted((root / "3").rglob("*")):
            if path.is_file():
                path.write_bytes(change(path.read_bytes()))

    return apply


DAMAGES = {
    "empty_files": each_file(lambda content: b""),
    "half_files": each_file(lambda content: content[: len(content) // 2]),
    "zeros": each_file(lambda content: bytes(len(content))),
    "pickles": each_file(lambda content: bomb_bytes("exploded")),
    "no_state": remove("3/state"),
    "nothing": lambda root: [remove("3")(root), (root / "3").mkdir()],
}
OTHERS = {
    "shape": STATE | {"w": jnp.zeros((3, 3))},
    "name": {"v": STATE["w"], "step": STATE["step"]},
    "more": STATE | {"b": jnp.zeros(2)},
}


@pytest.mark.parametrize("kind", [*DAMAGES, *OTHERS])
def test_a_checkpoint_that_is_damaged_or_of_another_model_is_refused_by_name(kind, root, tmp_path):
    DAMAGES.get(kind, lambda root: None)(root)
    before = tree(root)
    with pytest.raises(ValueError, match="no readable checkpoint") as caught:
        restored(root, OTHERS.get(kind, STATE))
    check_line(str(caught.value), root, "step 3")
    del caught
    gc.collect()  # a restore that fails leaves coroutines behind: here, not in a later test
    assert tree(root) == before
    assert not (tmp_path / "exploded").exists()


def test_the_place_of_the_checkpoints_is_a_file(tmp_path):
    write("checkpoints", "mine")(tmp_path)
    with refused("checkpoints", untouched=[tmp_path]):
        restored(tmp_path / "checkpoints")


def test_the_latent_means_are_never_unpickled(tmp_path):
    np.save(tmp_path / "latents.npy", bomb_array(tmp_path / "exploded"))
    images = np.zeros((2, 4, 4, 1), np.uint8)
    with refused("latents.npy"):
        vae_store._latents(None, images, tmp_path / "latents.npy", 2)
    assert not (tmp_path / "exploded").exists()
