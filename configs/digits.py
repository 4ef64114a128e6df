"""Handwritten digits (8x8, 1,797 images, inside scikit-learn): the whole pipeline without a network.

    python -m varmixup_jax.main --config=configs/digits.py            # ERM, Mixup and VarMixup
    python -m varmixup_jax.main --config=configs/digits.py:all        # all nine methods

Cost: about three minutes for the three on two CPU cores; the VAE is trained once.
Result: at least 96 % clean test accuracy with VarMixup (359 test images).
"""

from varmixup_jax.config import base_config, method_argument


def get_config(argument=None):
    c = base_config()
    c.method, _ = method_argument(argument, "erm,mixup,varmixup")

    c.data.source = "digits"
    c.data.val_fraction = 0.1
    c.data.pad = 1

    c.model.name = "resnet8"
    c.epochs = 30.0
    c.batch_size = 64
    c.ema_decay = 0.99
    c.optim.learning_rate = 0.1
    c.optim.schedule = "onecycle"
    c.optim.warmup = 0.2
    c.optim.nesterov = True

    c.vae.latent_size = 8
    c.vae.width = 32
    c.vae.epochs = 20.0
    c.vae.batch_size = 64
    c.vae.learning_rate = 2e-3
    c.vae.ema_decay = 0.99

    c.eval.every_epochs = 5.0
    c.eval.batch_size = 360
    c.eval.corruptions = "computed"
    c.eval.save_logits = "all"
    c.eval.linearity_examples = 120
    c.eval.linearity_restarts = 1
    c.eval.attack_examples = 360
    return c
