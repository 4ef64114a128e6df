"""Run directories with damaged files and checkpoints, as the trainer finds them again."""

import gc
import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict
from refusing import bomb_array, bomb_bytes, check_line, refused, tree

from varmixup_jax.config import base_config
from varmixup_jax.experiment import rundir
from varmixup_jax.experiment.setup import chosen_devices
from varmixup_jax.experiment.sweep import run
from varmixup_jax.training.checkpoints import Checkpoints

# Orbax's coroutines complain when they are collected after their event loop.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

RESULT = json.dumps({"metric": "accuracy"}) + "\n"
SUMMARIES = {
    "missing": None,
    "empty": "",
    "half": '{"status": "do',
    "text": "done",
    "list": '["done"]',
    "number": "5",
    "null": "null",
    "string": '"status"',
    "no_status": "{}",
    "running": '{"status": "running"}',
    "failed": '{"status": "failed"}',
    "status_list": '{"status": ["done"]}',
    "deep": "[" * 50_000,
    "bytes": b"\xff\xfe{}",
    "done_without_results": '{"status": "done"}',
}


@pytest.mark.parametrize("kind", SUMMARIES)
def test_a_damaged_summary_is_not_a_finished_run(kind, tmp_path):
    content = SUMMARIES[kind]
    if content is not None:
        data = content if isinstance(content, bytes) else content.encode()
        (tmp_path / "summary.json").write_bytes(data)
    if kind != "done_without_results":
        (tmp_path / "results.jsonl").write_text(RESULT)
    before = tree(tmp_path)
    assert not rundir.is_done(tmp_path)
    assert tree(tmp_path) == before


def test_a_finished_run_is_one(tmp_path):
    (tmp_path / "summary.json").write_text('{"status": "done"}')
    (tmp_path / "results.jsonl").write_text(RESULT)
    assert rundir.is_done(tmp_path)


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
    assert len(chosen_devices(base_config())) == jax.device_count()


STATE = {"w": jnp.arange(6.0).reshape(2, 3), "step": jnp.asarray(3)}


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """One checkpoint, of step 3."""
    root = tmp_path_factory.mktemp("saved") / "checkpoints"
    with Checkpoints(root, keep=2, best=False) as checkpoints:
        checkpoints.save(3, STATE)
        checkpoints.wait()
    return root


@pytest.fixture
def root(saved, tmp_path):
    return shutil.copytree(saved, tmp_path / "checkpoints")


def restored(root, like=STATE):
    try:
        with Checkpoints(root, keep=2, best=False) as checkpoints:
            return checkpoints.restore_latest(like)
    finally:
        gc.collect()  # a restore that fails leaves coroutines behind: here, not in a later test


def test_the_undamaged_checkpoint_is_read(root):
    np.testing.assert_array_equal(restored(root)["w"], STATE["w"])


FOREIGN = ["notes.txt", "abc/state/x", ".hidden", "03x/y", "-1/state/z", "3.tmp/x", "summary.json"]


@pytest.mark.parametrize("name", FOREIGN)
def test_foreign_files_beside_checkpoints_do_no_harm(name, root):
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bomb_bytes(root / "exploded"))
    np.testing.assert_array_equal(restored(root)["w"], STATE["w"])
    assert path.exists()
    assert not (root / "exploded").exists()


def each_file(change):
    def apply(root):
        for path in sorted((root / "3").rglob("*")):
            if path.is_file():
                path.write_bytes(change(path.read_bytes()))

    return apply


def no_state(root):
    shutil.rmtree(root / "3" / "state")


DAMAGES = {
    "empty_files": each_file(lambda content: b""),
    "half_files": each_file(lambda content: content[: len(content) // 2]),
    "zeros": each_file(lambda content: bytes(len(content))),
    "pickles": each_file(lambda content: bomb_bytes("exploded")),
    "no_state": no_state,
    "nothing": lambda root: [shutil.rmtree(root / "3"), (root / "3").mkdir()],
}


@pytest.mark.parametrize("kind", DAMAGES)
def test_a_damaged_checkpoint_is_refused_by_name(kind, root, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    DAMAGES[kind](root)
    with pytest.raises(ValueError, match="no readable checkpoint") as caught:
        restored(root)
    check_line(str(caught.value), root, "step 3")
    assert not (tmp_path / "exploded").exists()


OTHERS = {
    "shape": STATE | {"w": jnp.zeros((3, 3))},
    "name": {"v": STATE["w"], "step": STATE["step"]},
    "more": STATE | {"b": jnp.zeros(2)},
}


@pytest.mark.parametrize("kind", OTHERS)
def test_the_checkpoint_of_another_model_is_refused(kind, root):
    with pytest.raises(ValueError, match="checkpoint") as caught:
        restored(root, OTHERS[kind])
    check_line(str(caught.value), root, "step 3")


def test_the_place_of_the_checkpoints_is_a_file(tmp_path):
    (tmp_path / "checkpoints").write_text("mine")
    with refused("checkpoints", untouched=[tmp_path]):
        restored(tmp_path / "checkpoints")


def test_the_latent_means_are_never_unpickled(tmp_path):
    from varmixup_jax.experiment import vae

    np.save(tmp_path / "latents.npy", bomb_array(tmp_path / "exploded"))
    images = np.zeros((2, 4, 4, 1), np.uint8)
    with refused("latents.npy"):
        vae._latents(None, None, images, tmp_path / "latents.npy", base_config())
    assert not (tmp_path / "exploded").exists()
