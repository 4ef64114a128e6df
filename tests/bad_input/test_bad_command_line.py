"""The real command line, in process: exit code 2, one line, nothing written."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from absl import flags
from refusing import check_line, refusal

from varmixup_jax.corruptions import NAMES

# ml_collections loads recipes by a method that importlib will drop.
pytestmark = pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")

ROOT = Path(__file__).resolve().parents[2]
DIGITS = "configs/digits.py"
ERM = f"{DIGITS}:erm"

WORDS = [
    ([], "--config = None", "configs/digits.py"),
    (["--config"], "--config"),
    (["--config="], "--config = None"),
    (["--confg=configs/digits.py"], "confg", "config"),
    (["--config=configs/digitz.py"], "--config = 'configs/digitz.py'", "no such file"),
    (["--config", "configs/digitz.py"], "--config = 'configs/digitz.py'"),
    (["--config=configs"], "--config = 'configs'"),
    (["--config=/dev/null"], "/dev/null"),
    ([f"--config={DIGITS}:varmixp"], "'varmixp'", "did you mean varmixup"),
    ([f"--config={DIGITS}:erm,mixip"], "'mixip'", "did you mean mixup"),
    ([f"--config={DIGITS}:all,erm"], "config.method = 'all'"),
    (["--config=configs/cifar10.py:modern,poster_guess"], "more than one preset"),
    (["--config=configs/cifar10.py:modrn"], "'modrn'", "did you mean modern"),
    ([f"--config={DIGITS}", "stray"], "stray"),
    ([f"--config={DIGITS}", "--workdr=x"], "workdr", "workdir"),
    ([f"--config={DIGITS}", "--config.epoch=3"], "config.epoch", "did you mean epochs"),
    (
        [f"--config={DIGITS}", "--config.optim.learning_rat=1"],
        "config.optim.learning_rat: no such field (did you mean learning_rate?)",
    ),
    ([f"--config={DIGITS}", "--config.model.name=resnet19"], "did you mean resnet18"),
    ([f"--config={DIGITS}", "--config.vae.epochs=0"], "needs a VAE"),
    ([f"--config={DIGITS}", "--config.method=varmixp"], "did you mean varmixup"),
    ([f"--config={DIGITS}", "--config.optm.learning_rate=1"], "did you mean optim"),
    ([f"--config={DIGITS}", "--config.epochs.x=1"], "config.epochs.x"),
    ([f"--config={DIGITS}", "--config.zzz=1"], "config.zzz"),
    ([f"--config={DIGITS}", "--config.methods.erm.alpha=1"], "config.methods.erm.alpha"),
    ([f"--config={DIGITS}", "--config.methods.mixp.alpha=1"], "did you mean mixup"),
    ([f"--config={DIGITS}", "--config.epochs"], "config.epochs"),
    ([f"--config={DIGITS}", "--config.epochs="], "config.epochs"),
    ([f"--config={DIGITS}", "--config.epochs=many"], "--config.epochs=many"),
    ([f"--config={DIGITS}", "--config.epochs=None"], "config.epochs=None"),
    ([f"--config={DIGITS}", "--config.epochs=nan"], "config.epochs = nan"),
    ([f"--config={DIGITS}", "--config.epochs=inf"], "config.epochs = inf"),
    ([f"--config={DIGITS}", "--config.epochs=0"], "config.epochs = 0.0: must be > 0"),
    ([f"--config={DIGITS}", "--config.epochs=-1"], "config.epochs = -1.0"),
    ([f"--config={DIGITS}", "--config.batch_size=1.5"], "config.batch_size=1.5"),
    ([f"--config={DIGITS}", "--config.batch_size=0"], "config.batch_size = 0"),
    ([f"--config={DIGITS}", "--config.batch_size=99999999999999999999"], "config.batch_size = 9"),
    ([f"--config={DIGITS}", "--config.quiet=maybe"], "config.quiet=maybe"),
    ([f"--config={DIGITS}", "--config.data=5"], "config.data=5"),
    ([f"--config={DIGITS}", "--config.seeds=(0,'a')"], "config.seeds = 'a'"),
    ([f"--config={DIGITS}", "--config.seeds=()"], "config.seeds = ()"),
    ([f"--config={DIGITS}", "--config.seeds=(0,0)"], "config.seeds = (0, 0)"),
    ([f"--config={DIGITS}", "--config.seeds=(-1,)"], "config.seeds = (-1,)"),
    ([f"--config={DIGITS}", "--config.seeds=(1.5,)"], "config.seeds = 1.5"),
    ([f"--config={DIGITS}", "--config.seeds=__import__('os')"], "config.seeds"),
    ([f"--config={DIGITS}", "--config.seeds=(9999999999999,)"], "config.seeds = 9999999999999"),
    ([f"--config={DIGITS}", "--config.method="], "config.method = ''"),
    ([f"--config={DIGITS}", "--config.method=erm,,mixup"], "config.method = ''"),
    ([f"--config={DIGITS}", "--config.method=../../etc"], "config.method = '../../etc'"),
    ([f"--config={DIGITS}", "--config.data.source="], "source = ''"),
    ([f"--config={DIGITS}", "--config.data.source=digit"], "did you mean digits"),
    ([f"--config={DIGITS}", "--config.data.source=cifar10"], "did you mean tfds:cifar10"),
    ([f"--config={DIGITS}", "--config.data.source=npz:/nowhere.npz"], "/nowhere.npz"),
    ([f"--config={DIGITS}", "--config.data.source=npz:/"], "npz:/"),
    ([f"--config={DIGITS}", "--config.data.source=npz:" + "x" * 300], "xxx"),
    ([f"--config={DIGITS}", "--config.data.source=tfds:nope", "--config.data.dir=/nowhere"], "nope"),
    ([f"--config={DIGITS}", "--config.data.source=tfds:../etc"], "tfds:../etc"),
    ([f"--config={DIGITS}", "--config.data.source=tiny_imagenet"], "data_dir"),
    ([f"--config={DIGITS}", "--config.parallel.devices=9"], "config.parallel.devices = 9"),
    ([f"--config={DIGITS}", "--config.parallel.devices=-1"], "config.parallel.devices = -1"),
    ([f"--config={DIGITS}", "--config.batch_size=65"], "config.batch_size = 65", "8 devices"),
    ([f"--config={ERM}", "--config.batch_size=8000"], "config.batch_size = 8000", "1293"),
    ([f"--config={DIGITS}", "--config.vae.batch_size=8000"], "config.vae.batch_size = 8000"),
    ([f"--config={DIGITS}", "--config.vae.downsample=16"], "config.vae.downsample = 16"),
    ([f"--config={DIGITS}", "--config.data.resize=9"], "config.vae.downsample = 0", "(9, 9, 1)"),
    ([f"--config={ERM}", "--config.data.pad=8"], "config.data.pad = 8"),
    ([f"--config={ERM}", "--config.data.limit=9"], "limit = 9"),
    ([f"--config={ERM}", "--config.data.val_fraction=0.9999"], "val_fraction = 0.9999"),
    ([f"--config={ERM}", "--config.optim.boundaries=(0.7,0.2)"], "config.optim.boundaries"),
    ([f"--config={ERM}", "--config.optim.boundaries=(2.0,)"], "config.optim.boundaries"),
    ([f"--config={ERM}", "--config.eval.corruptions=/nowhere"], "config.eval.corruptions", "/nowh"),
    ([f"--config={ERM}", "--config.eval.corruptions=configs"], "labels.npy"),
    ([f"--config={ERM}", "--config.eval.frost_dir=/nowhere"], "/nowhere", "frost1.png"),
]  # fmt: skip


@pytest.mark.parametrize("words", WORDS, ids=lambda words: " ".join(words[0])[-60:] or "nothing")
def test_refused_words(words, run, tmp_path):
    words, *names = words
    refusal(run, words, *names, place=tmp_path)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("words", [["--debug"], ["--debug=true"]])
@pytest.mark.parametrize(
    "wrong", ["--config.epochs=0", "--config.epoch=0", "--config.epochs=many", "--config.seeds=()"]
)
def test_debug_shows_the_traceback(words, wrong, run):
    with pytest.raises((ValueError, AttributeError, flags.Error)):
        run(*words, f"--config={ERM}", wrong)


def archive(path, height, width):
    images = np.random.default_rng(0).integers(0, 256, (16, height, width, 3), np.uint8)
    labels = np.arange(16) % 2
    np.savez(path, x_train=images, y_train=labels, x_test=images, y_test=labels)
    return images


def test_corruptions_that_do_not_fit_the_images(run, tmp_path):
    images = archive(tmp_path / "wide.npz", 8, 10)
    wide = [f"--config={ERM}", "--config.batch_size=8", "--config.data.val_fraction=0"]
    words = [*wide, f"--config.data.source=npz:{tmp_path / 'wide.npz'}"]
    refusal(run, words, "config.eval.corruptions = computed", "8x10", place=tmp_path)

    images = archive(tmp_path / "set.npz", 8, 8)
    words = [*wide, f"--config.data.source=npz:{tmp_path / 'set.npz'}"]
    words += [f"--config.eval.corruptions={tmp_path / 'files'}"]
    (tmp_path / "files").mkdir()
    for name in NAMES:
        np.save(tmp_path / "files" / f"{name}.npy", np.tile(images[:2], (5, 1, 1, 1)))
    np.save(tmp_path / "files" / "labels.npy", np.tile([0, 2], 5))
    refusal(run, words, "config.eval.corruptions", "labels up to 2", place=tmp_path)
    for name in NAMES:
        np.save(tmp_path / "files" / f"{name}.npy", np.zeros((10, 9, 9, 3), np.uint8))
    refusal(run, words, "config.eval.corruptions", "[9, 9, 3]", place=tmp_path)


SEPARATE = [
    (["--config=configs/digits.py", "--config.epochs=0"], "config.epochs = 0.0"),
    (["--config=configs/digits.py", "--config.data.source=npz:/nowhere.npz"], "/nowhere.npz"),
]


@pytest.mark.parametrize(("words", "message"), SEPARATE)
def test_in_a_process_of_its_own(words, message, tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "varmixup_jax.main", *words, f"--workdir={tmp_path / 'run'}"],
        cwd=ROOT, env={**os.environ, "JAX_PLATFORMS": "cpu"}, capture_output=True, text=True,
        timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stdout == ""
    check_line(done.stderr, message)
    assert list(tmp_path.iterdir()) == []
