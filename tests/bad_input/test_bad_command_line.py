"""The real command line, in process: exit code 2, one line, nothing written."""

import numpy as np
import pytest
from absl import flags

from varmixup_jax.corruptions import NAMES

DIGITS = "--config=configs/digits.py"
ERM = f"{DIGITS}:erm"
RESTYLE = f"{DIGITS}:restyle"
RECIPES = {  # whole lines, and what the refusal must name
    "": ["--config = None", "digits"],
    "--config": ["--config"],
    "--config=": ["--config = ''"],
    "--config=digitz": ["--config = 'digitz'", "did you mean digits"],
    "--config=digits:varmixp": ["'varmixp'", "did you mean varmixup"],
    "--config=digits --import=nowhere.at_all": ["--import = 'nowhere.at_all'", "'nowhere'"],
    "--confg=configs/digits.py": ["confg", "config"],
    "--config=configs/digitz.py": ["--config = 'configs/digitz.py'", "no such file"],
    "--config configs/digitz.py": ["--config = 'configs/digitz.py'"],
    "--config=configs": ["--config = 'configs'"],
    "--config=/dev/null": ["/dev/null"],
    f"{DIGITS}:varmixp": [
        "error: config argument = 'varmixp': must be one of erm",
        "did you mean varmixup",
    ],
    f"{DIGITS}:erm,mixip": ["'mixip'", "did you mean mixup"],
    f"{DIGITS}:all,erm": ["config.method = 'all'"],
    "--config=configs/cifar10.py:modern,poster_guess": ["more than one preset"],
    "--config=configs/cifar10.py:modrn": ["'modrn'", "did you mean modern"],
    f"{DIGITS} stray": ["stray"],
    f"{DIGITS} --workdr=x": ["workdr", "workdir"],
}
FIELDS = {  # what is put behind --config., of `digits.py` for a method that needs a VAE
    "epoch=3": ["config.epoch", "did you mean epochs"], "optm.learning_rate=1": ["did you mean optim"],
    "optim.learning_rat=1": ["config.optim.learning_rat: no such field (did you mean learning_rate?)"],
    "model.name=resnet19": ["did you mean resnet18"], "method=varmixp": ["did you mean varmixup"],
    "methods.mixp.alpha=1": ["did you mean mixup"], "vae.epochs=0": ["needs a VAE"],
    "epochs.x=1": ["config.epochs.x"], "zzz=1": ["config.zzz"], "epochs": ["config.epochs"],
    "methods.erm.alpha=1": ["erm.alpha: no such field (there are none below it)"],
    "epochs=": ["config.epochs"],
    "epochs=many": ["--config.epochs=many"], "epochs=None": ["config.epochs=None"],
    "epochs=nan": ["config.epochs = nan"], "epochs=inf": ["config.epochs = inf"],
    "epochs=0": ["config.epochs = 0.0: must be > 0"], "epochs=-1": ["config.epochs = -1.0"],
    "batch_size=1.5": ["config.batch_size=1.5"], "batch_size=0": ["config.batch_size = 0"],
    "batch_size=99999999999999999999": ["config.batch_size = 9"], "data=5": ["config.data=5"],
    "quiet=maybe": ["config.quiet=maybe"], "seeds=(0,'a')": ["config.seeds = 'a'"],
    "seeds=()": ["config.seeds = ()"], "seeds=(0,0)": ["config.seeds = (0, 0)"],
    "seeds=(-1,)": ["config.seeds = (-1,)"], "seeds=(1.5,)": ["config.seeds = 1.5"],
    "seeds=__import__('os')": ["config.seeds"], "method=": ["config.method = ''"],
    "seeds=(9999999999999,)": ["config.seeds = 9999999999999"],
    "method=erm,,mixup": ["config.method = ''"], "method=../../etc": ["config.method = '../../etc'"],
    "data.source=": ["source = ''"], "data.source=digit": ["did you mean digits"],
    "data.source=cifar10": ["did you mean tfds:cifar10"], "data.source=npz:/": ["npz:/"],
    "data.source=npz:/nowhere.npz": ["/nowhere.npz"], "data.source=npz:" + "x" * 300: ["xxx"],
    "data.source=tfds:nope --config.data.dir=/nowhere": ["nope"],
    "data.source=tfds:../etc": ["tfds:../etc"], "data.source=tiny_imagenet": ["data_dir"],
    "parallel.devices=9": ["config.parallel.devices = 9"],
    "parallel.devices=-1": ["config.parallel.devices = -1"],
    "batch_size=65": ["config.batch_size = 65", "8 devices"],
    "vae.batch_size=8000": ["config.vae.batch_size = 8000"],
    "vae.downsample=16": ["config.vae.downsample = 16"],
    "data.resize=9": ["config.vae.downsample = 0", "(9, 9, 1)"],
}  # fmt: skip
OF_ERM = {
    "batch_size=8000": ["config.batch_size = 8000", "1293"], "data.pad=8": ["config.data.pad = 8"],
    "data.limit=9": ["config.data.limit = 9"],
    "data.val_fraction=0.9999": ["config.data.val_fraction = 0.9999"],
    "optim.boundaries=(0.7,0.2)": ["config.optim.boundaries"],
    "optim.boundaries=(2.0,)": ["config.optim.boundaries"],
    "eval.corruptions=/nowhere": ["config.eval.corruptions", "/nowh"],
    "eval.corruptions=configs": ["labels.npy"], "eval.frost_dir=/nowhere": ["/nowhere", "frost1.png"],
}  # fmt: skip
OF_RESTYLE = {
    "vae.latent=vector": ["config.methods.restyle: latent", "style needs a grid"],
    "methods.restyle.groups=3": ["config.methods.restyle: groups = 3", "the latent's channels"],
    "methods.restyle.strength=2.0": ["config.methods.restyle.strength = 2.0"],
}
LINES = RECIPES | {f"{DIGITS} --config.{words}": names for words, names in FIELDS.items()}
LINES |= {f"{ERM} --config.{words}": names for words, names in OF_ERM.items()}
LINES |= {f"{RESTYLE} --config.{words}": names for words, names in OF_RESTYLE.items()}


@pytest.mark.parametrize("line", LINES, ids=lambda line: line[-60:] or "nothing")
def test_refused_words(line, refuses_run):
    refuses_run(line.split(), *LINES[line])


@pytest.mark.parametrize("wrong", ["epochs=0", "epoch=0", "epochs=many", "seeds=()"])
def test_debug_shows_the_traceback(wrong, run):
    with pytest.raises((ValueError, AttributeError, flags.Error)):
        run(["--debug", ERM, f"--config.{wrong}"])


def archive(path, height, width):
    images = np.random.default_rng(0).integers(0, 256, (16, height, width, 3), np.uint8)
    labels = np.arange(16) % 2
    np.savez(path, x_train=images, y_train=labels, x_test=images, y_test=labels)
    words = f"--config.batch_size=8 --config.data.val_fraction=0 --config.data.source=npz:{path}"
    return [ERM, *words.split()], images


def test_corruptions_that_do_not_fit_the_images(refuses_run, tmp_path):
    words, _ = archive(tmp_path / "wide.npz", 8, 10)
    refuses_run(words, "config.eval.corruptions = computed", "8x10")
    words, images = archive(tmp_path / "set.npz", 8, 8)
    words += [f"--config.eval.corruptions={tmp_path / 'files'}"]
    (tmp_path / "files").mkdir()
    tiled = np.tile(images, (5, 1, 1, 1))
    for classes, array, message in [
        ([0, 1], tiled[:10], "has 2 images"),
        ([0, 2], tiled, "labels up to 2"),
        ([0, 1], np.zeros((80, 9, 9, 3), np.uint8), "[9, 9, 3]"),
    ]:
        np.save(tmp_path / "files" / "labels.npy", np.tile(classes, len(array) // 2))
        for name in NAMES:
            np.save(tmp_path / "files" / f"{name}.npy", array)
        refuses_run(words, "config.eval.corruptions", message)
