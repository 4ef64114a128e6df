"""Tiny-ImageNet (200 classes, 64x64) with a CIFAR-style PreActResNet-18.

    python -m varmixup_jax.main --config=configs/tiny_imagenet.py --config.data.dir=tiny-imagenet-200

`config.data.dir` is the folder as distributed (train/, val/, wnids.txt).

Cost: 8 times CIFAR-10's per epoch (100,000 images of four times the pixels).
Result: not measured.
"""

from varmixup_jax.config import base_config, method_argument


def get_config(argument=None):
    c = base_config()
    c.method, _ = method_argument(argument, "varmixup")

    c.data.source = "tiny_imagenet"
    c.data.val_fraction = 0.02
    c.data.pad = 8
    c.data.flip = True

    c.model.name = "preact_resnet18"
    c.model.dtype = "bfloat16"
    c.epochs = 60.0
    c.batch_size = 256
    c.ema_decay = 0.995
    c.optim.learning_rate = 0.2
    c.optim.warmup = 0.05

    c.eval.corruptions = "computed"
    c.vae.latent_size = 16
    c.vae.width = 64
    c.vae.blocks = 2
    c.vae.dtype = "bfloat16"
    c.vae.batch_size = 128
    return c
