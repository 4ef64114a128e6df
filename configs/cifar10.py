"""CIFAR-10 with a CIFAR ResNet-18.

    python -m varmixup_jax.data.prepare cifar10                               # once
    python -m varmixup_jax.main --config=configs/cifar10.py                   # VarMixup
    python -m varmixup_jax.main --config=configs/cifar10.py:mixup             # another method
    python -m varmixup_jax.main --config=configs/cifar10.py:all,poster_guess  # all nine, preset 2

    python -m varmixup_jax.main --config=configs/cifar10.py:record            # the best we know
    python -m varmixup_jax.main --config=configs/cifar10.py:all,cpu           # a small table, no GPU

Presets: `modern` (default: SGD, one-cycle, bfloat16, batch 512, 30 epochs), `poster_guess`
(ResNet-34, Adam 1e-3 constant, batch 128, 100 epochs: what evidence suggests the authors ran; not a
claim of exact reproduction), `record` (as `modern`, 150 epochs, latent style with AugMix unless a
method is named: by the cost of its steps 8 minutes on an H200, not run yet), `record_long` (the same
with a WideResNet-28-4 and 200 epochs), and `cpu` (ResNet-8, 10,000 training and 1,000 test images,
10 epochs, 3 for methods that attack, a small VAE): feasible on two CPU cores, only for comparing
methods with one another.

Cost: about 10^5 GFLOP per epoch (3.3 GFLOP per image and training step); attacks cost 6 to 9 times
that. Result: see the results table in README.md, which has no rows for methods that were not run.
"""

from varmixup_jax.config import base_config, method_argument


def get_config(argument=None):
    c = base_config()
    presets = ("modern", "poster_guess", "record", "record_long", "cpu")
    c.method, preset = method_argument(argument, "", *presets)
    c.method = c.method or ("restyle_augmix" if preset.startswith("record") else "varmixup")

    c.data.source = "tfds:cifar10"
    c.data.val_fraction = 0.02
    c.data.pad = 4
    c.data.flip = True

    c.eval.corruptions = "computed"
    c.vae.latent_size = 16  # an 8x8x16 grid
    c.vae.width = 64
    c.vae.blocks = 2
    c.vae.epochs = 30.0
    c.vae.batch_size = 256

    if preset == "cpu":
        _small(c)
    elif preset == "poster_guess":
        c.model.name = "resnet34"
        c.epochs = 100.0
        c.batch_size = 128
        c.optim.name = "adam"
        c.optim.schedule = "constant"
        c.optim.learning_rate = 1e-3
        c.optim.weight_decay = 0.0
    else:
        long = preset == "record_long"
        c.model.name = "wrn28_4" if long else "resnet18"
        c.model.dtype = "bfloat16"
        c.vae.dtype = "bfloat16"
        c.epochs = {"modern": 30.0, "record": 150.0, "record_long": 200.0}[preset]
        c.batch_size = 512
        c.ema_decay = 0.995
        c.optim.learning_rate = 0.4
        c.optim.schedule = "onecycle"
        c.optim.warmup = 0.2
        c.optim.nesterov = True
    return c


def _small(c):
    c.data.limit = 10_000
    c.model.name = "resnet8"
    c.epochs = 10.0
    c.attack_epochs = 3.0
    c.batch_size = 128
    c.ema_decay = 0.99
    c.optim.learning_rate = 0.2
    c.optim.schedule = "onecycle"
    c.optim.warmup = 0.2
    c.optim.nesterov = True

    c.vae.width = 16
    c.vae.blocks = 1
    c.vae.epochs = 10.0
    c.vae.batch_size = 64
    c.vae.learning_rate = 2e-3
    c.vae.ema_decay = 0.99
    c.vae.adversary.steps = 3
    c.vae.adversary.step_size = 4 / 255

    c.eval.every_epochs = 2.0
    c.eval.examples = 1000
    c.eval.attack_examples = 200
    c.eval.linearity_examples = 200
    c.eval.linearity_steps = 20
    c.eval.linearity_restarts = 1
