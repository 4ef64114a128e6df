"""What is documented to be allowed in every field of the configuration, said anew.

`ALLOWED` maps a field to a predicate of its value.
"""

import math
from pathlib import Path

import numpy as np

from varmixup_jax.models import CLASSIFIERS
from varmixup_jax.vicinal.methods import METHODS

INT_MAX = 2**31 - 1
FLOAT_MAX = float(np.finfo(np.float32).max)


def number(value):
    fits = isinstance(value, (int, float)) and not isinstance(value, bool)
    return fits and abs(value) <= FLOAT_MAX and not (isinstance(value, float) and math.isnan(value))


def whole(value):
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) <= INT_MAX


def text(value):
    return isinstance(value, str) and value.isprintable()


def is_there(value):
    return value != "" and len(value) < 200 and Path(value).exists()


def flag(value):
    return isinstance(value, bool)


def at_least(least):
    return lambda value: whole(value) and value >= least


def positive(value):
    return number(value) and value > 0


def non_negative(value):
    return number(value) and value >= 0


def epochs(value):
    return number(value) and 0 <= value <= 1e6


def fraction(value):
    return number(value) and 0 <= value <= 0.999999


def unit(value):
    return number(value) and 0 <= value <= 1


def word(*words):
    return lambda value: isinstance(value, str) and value in words


def entries(rule, least=0):
    return lambda value: (
        isinstance(value, (tuple, list)) and len(value) >= least and all(map(rule, value))
    )


def distinct(rule):
    return lambda value: entries(rule, 1)(value) and len(set(value)) == len(value)


def increasing(value):
    inside = entries(lambda v: number(v) and 0 < v < 1)(value)
    return inside and list(value) == sorted(set(value))


def methods(value):
    if not text(value):
        return False
    names = [name.strip() for name in value.split(",")]
    return names == ["all"] or all(name in METHODS for name in names)


def lam(value):
    return word("batch", "example")(value)


ALLOWED = {
    "method": methods,
    "seeds": distinct(at_least(0)),
    "quiet": flag,
    "data.source": text,
    "data.dir": text,
    "data.val_fraction": fraction,
    "data.split_seed": at_least(0),
    "data.limit": at_least(0),
    "data.resize": at_least(0),
    "data.pad": at_least(0),
    "data.flip": flag,
    "model.name": word(*CLASSIFIERS),
    "model.width": at_least(0),
    "model.dtype": word("float32", "bfloat16"),
    "epochs": lambda v: epochs(v) and v > 0,
    "attack_epochs": epochs,
    "batch_size": at_least(1),
    "ema_decay": fraction,
    "attack_bn": word("running", "batch"),
    "optim.name": word("sgd", "adam", "adamw"),
    "optim.learning_rate": positive,
    "optim.schedule": word("constant", "cosine", "onecycle", "piecewise"),
    "optim.warmup": fraction,
    "optim.boundaries": increasing,
    "optim.decay": positive,
    "optim.momentum": fraction,
    "optim.nesterov": flag,
    "optim.weight_decay": non_negative,
    "optim.clip_norm": non_negative,
    "vae.latent": word("spatial", "vector"),
    "vae.latent_size": at_least(1),
    "vae.downsample": lambda v: whole(v) and v in (0, 2, 4, 8, 16),
    "vae.width": at_least(1),
    "vae.blocks": at_least(0),
    "vae.dtype": word("float32", "bfloat16"),
    "vae.gamma": non_negative,
    "vae.kernel": word("rbf", "zhao", "imq"),
    "vae.bandwidth": non_negative,
    "vae.estimator": word("unbiased", "biased"),
    "vae.epochs": lambda v: epochs(v) and v > 0,  # "varmixup" needs a VAE
    "vae.batch_size": at_least(1),
    "vae.learning_rate": positive,
    "vae.weight_decay": non_negative,
    "vae.ema_decay": fraction,
    "vae.seed": at_least(0),
    "vae.store": text,
    "vae.adversary.objective": word("recon", "latent"),
    "vae.adversary.eps": positive,
    "vae.adversary.step_size": positive,
    "vae.adversary.steps": at_least(1),
    "eval.every_epochs": positive,
    "eval.checkpoint": word("last", "best"),
    "eval.batch_size": at_least(1),
    "eval.bins": lambda v: whole(v) and 1 <= v <= 1000,
    "eval.examples": at_least(0),
    "eval.corruptions": lambda v: text(v) and (v in ("none", "computed") or is_there(v)),
    "eval.corruptions_md5": flag,
    "eval.frost_dir": text,
    "eval.baseline": word("", *METHODS),
    "eval.attack_examples": at_least(0),
    "eval.attack_eps": positive,
    "eval.attack_step_size": positive,
    "eval.attack_steps": at_least(1),
    "eval.attack_restarts": at_least(1),
    "eval.apgd_steps": at_least(0),
    "eval.linearity_examples": at_least(0),
    "eval.linearity_eps": entries(positive),
    "eval.linearity_steps": at_least(1),
    "eval.linearity_restarts": at_least(1),
    "eval.linearity_relative_step": positive,
    "checkpoints.keep": at_least(1),
    "parallel.via": word("jit", "pmap"),
    "parallel.devices": at_least(0),
    "parallel.steps_per_call": at_least(0),
    "parallel.deterministic": flag,
    "methods.mixup_r.order": word("reconstruct_first", "mix_first"),
    "methods.manifold_mixup.loss": word("ce", "bce_softmax"),
    "methods.noisymix.stages": distinct(lambda v: whole(v) and 0 <= v <= 4),
    "methods.manifold_mixup.stages": distinct(lambda v: whole(v) and 0 <= v <= 4),
    "methods.trades.beta": non_negative,
    "methods.trades.start_sigma": non_negative,
}
BY_SETTING = {
    "alpha": non_negative,
    "lam": lam,
    "clean_weight": unit,
    "eps": positive,
    "step_size": positive,
    "steps": at_least(1),
    "consistency": non_negative,
    "views": lambda v: whole(v) and 1 <= v <= 100,
    "partners": lambda v: whole(v) and 1 <= v <= 100,
    "severity": lambda v: number(v) and (v == 0 or 0.1 <= v <= 10),
    "sigma_add": non_negative,
    "sigma_mult": non_negative,
    "then_mixup": flag,
    "input_noise": flag,
}
for method, entry in METHODS.items():
    for setting in entry.settings:
        if setting in BY_SETTING:
            ALLOWED[f"methods.{method}.{setting}"] = BY_SETTING[setting]
