"""Runs in this process: files of corrupted images, per-method lengths, mCE."""

import json
import shutil

import jax
import numpy as np
import pytest
from toy import set_fields

from varmixup_jax import corruptions, errors, models, runs
from varmixup_jax.config import base_config, freeze
from varmixup_jax.runs import run_directory, vae_store
from varmixup_jax.training.loop import NonFiniteError

CLASSES, TRAIN, TEST, SIZE = 3, 48, 24, 12


@pytest.fixture(autouse=True)
def standard_promotion():
    """optax's Adam and cosine schedule do not run under strict promotion."""
    with jax.numpy_dtype_promotion("standard"):
        yield


@pytest.fixture(scope="module")
def npz(tmp_path_factory):
    """A data set of three brightnesses, in colour."""
    rng = np.random.default_rng(0)

    def part(count):
        labels = (np.arange(count) % CLASSES).astype(np.int32)
        noise = rng.integers(0, 60, (count, SIZE, SIZE, 3))
        return (80 * labels[:, None, None, None] + noise).astype(np.uint8), labels

    (x_train, y_train), (x_test, y_test) = part(TRAIN), part(TEST)
    path = tmp_path_factory.mktemp("data") / "toy.npz"
    np.savez(path, x_train=x_train, y_train=y_train, x_test=x_test, y_test=y_test)
    return path


@pytest.fixture(scope="module")
def published(npz, tmp_path_factory):
    """A directory as CIFAR-10-C is distributed: of no corruption at all but for one file."""
    folder = tmp_path_factory.mktemp("corrupted")
    with np.load(npz) as arrays:
        images, labels = arrays["x_test"], arrays["y_test"]
    np.save(folder / "labels.npy", np.tile(labels, 5))
    for name in corruptions.NAMES:
        levels = [images] * 5
        if name == "fog":
            levels = [*levels[:4], np.zeros_like(images)]
        np.save(folder / f"{name}.npy", np.concatenate(levels))
    return folder


def quick(npz, store, **fields):
    c = base_config()
    c.quiet, c.parallel.devices = True, 1
    c.method = "erm"
    c.data.source = f"npz:{npz}"
    c.data.val_fraction = 0.0
    c.model.name, c.model.width = "resnet8", 4
    c.epochs, c.batch_size, c.eval.batch_size = 8.0, 12, 12
    c.eval.every_epochs = 8.0
    c.vae.store = str(store)
    c.vae.epochs, c.vae.width, c.vae.blocks, c.vae.latent_size = 1.0, 4, 0, 2
    c.vae.batch_size = 12
    c.eval.attack_examples = c.eval.linearity_examples = 0
    return set_fields(c, **fields)


def rows(place):
    return [json.loads(line) for line in (place / "results.jsonl").read_text().splitlines()]


SPOILT = {
    "snow.npy: found no such file": lambda d: (d / "snow.npy").unlink(),
    "snow.npy: found uint8": lambda d: np.save(d / "snow.npy", np.zeros((3, 4), np.uint8)),
    r"has images \[8, 8, 3\], must be \[12, 12, 3\]": lambda d: [
        np.save(d / f"{n}.npy", np.zeros((5 * TEST, 8, 8, 3), np.uint8)) for n in corruptions.NAMES
    ],
}


@pytest.mark.parametrize("message", SPOILT)
def test_spoilt_files_are_refused_before_anything_is_trained(npz, published, tmp_path, message):
    folder = shutil.copytree(published, tmp_path / "c")
    SPOILT[message](folder)
    with pytest.raises(ValueError, match=message):
        runs.run(quick(npz, tmp_path, eval__corruptions=str(folder)), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_unpublished_sums_are_refused_when_asked_for(npz, published, tmp_path):
    config = quick(npz, tmp_path, eval__corruptions=str(published), eval__corruptions_md5=True)
    with pytest.raises(ValueError, match="md5"):
        runs.run(config, tmp_path / "run")


def darkened(key, name, image, severity, **tables):
    """In the place of the fifteen, which take long to compile."""
    return image * (1.0 - 0.1 * severity.astype(image.dtype))


def test_a_sweep_has_mce_against_the_baseline_and_lengths_of_its_own(npz, tmp_path, monkeypatch):
    monkeypatch.setattr(corruptions, "corrupt", darkened)
    config = quick(
        npz,
        tmp_path / "store",
        method="erm,at",
        epochs=1.0,  # few, for the baseline must err: mCE divides by its errors
        attack_epochs=0.5,
        methods__at__steps=1,
        eval__corruptions="computed",
        eval__frost_dir="synthetic",
        eval__examples=12,
    )
    summaries = runs.run(config, tmp_path / "sweep")
    steps = {s["method"]: s["steps"] for s in summaries}
    assert steps == {"erm": 4, "at": 2}
    table = (tmp_path / "sweep" / "report.md").read_text()
    assert "mCE" in table
    sources = {r["corruption"]: r.get("frost_source") for r in rows(tmp_path / "sweep" / "at-s0")}
    assert sources.pop("frost") == "synthetic"
    assert set(sources.values()) == {None}


def test_a_vae_that_diverges_ends_by_code_3_and_is_trained_once(npz, tmp_path, capsys, monkeypatch):
    """The page of a sweep none of whose runs had begun took the error's place, and exit code 2."""

    def diverges(task, *rest, **options):
        trained.append(task.name)
        raise NonFiniteError(2, "loss", float("nan"), "['decoder']")

    trained = []
    monkeypatch.setattr(vae_store, "fitted", diverges)
    monkeypatch.setattr(models, "init", lambda *arguments, **options: {"params": {}})
    config = quick(npz, tmp_path, method="varmixup", seeds=(0, 1), epochs=1.0)
    assert errors.exit_code(lambda: runs.run(config, tmp_path / "runs"), []) == 3
    told = "VAE: step 2: loss = nan, first in the gradient of ['decoder']; training stopped"
    assert capsys.readouterr().err == f"error: varmixup s0: {told}; varmixup s1: {told}\n"
    assert trained == ["VAE (standard)"]
    assert not (tmp_path / "runs").exists()


def test_a_field_that_an_older_version_did_not_have_counts_as_its_default(npz, tmp_path):
    config = quick(npz, tmp_path, method="varmixup")
    fields = run_directory.run_config(freeze(config), "varmixup", 0)
    older = json.loads(json.dumps(fields))
    del older["methods"]["varmixup"]["partners"]
    (tmp_path / "config.json").write_text(json.dumps(older))
    run_directory.check_same(tmp_path, fields)
    fields["methods"]["varmixup"]["partners"] = 2
    with pytest.raises(ValueError, match=r"partners = 2 \(there: 1\)"):
        run_directory.check_same(tmp_path, fields)
