"""What is documented to be allowed in every field of the configuration, said anew.

`ALLOWED` maps a field to a predicate of its value.
"""

import math
from pathlib import Path

import numpy as np

from varmixup_jax.methods import METHODS
from varmixup_jax.models import CLASSIFIERS

INT_MAX = 2**31 - 1
FLOAT_MAX = float(np.finfo(np.float32).max)


def number(least=-math.inf, most=math.inf, *, above=-math.inf):
    def rule(value):
        fits = isinstance(value, (int, float)) and not isinstance(value, bool)
        fits = fits and abs(value) <= FLOAT_MAX and not math.isnan(value)
        return fits and least <= value <= most and value > above

    return rule


def whole(least, most=INT_MAX):
    return lambda v: isinstance(v, int) and not isinstance(v, bool) and least <= v <= most


def word(*words):
    return lambda value: isinstance(value, str) and value in words


def text(value):
    return isinstance(value, str) and value.isprintable()


def flag(value):
    return isinstance(value, bool)


def entries(rule, least=0):
    return lambda v: isinstance(v, (tuple, list)) and len(v) >= least and all(map(rule, v))


def distinct(rule):
    return lambda value: entries(rule, 1)(value) and len(set(value)) == len(value)


def increasing(value):
    inside = entries(lambda v: number(above=0)(v) and v < 1)(value)
    return inside and list(value) == sorted(set(value))


def methods(value):
    names = [name.strip() for name in value.split(",")] if text(value) else [None]
    return names == ["all"] or all(name in METHODS for name in names)


def corruptions(value):
    if not text(value):
        return False
    there = value != "" and len(value) < 200 and Path(value).exists()
    return value in ("none", "computed") or there


def other_vae(value):
    return text(value) and value in OTHER_VAES


OTHER_VAES = ("", "width=8", "width=8 latent_size=4")  # of those that are tried
POSITIVE, NON_NEGATIVE, FRACTION = number(above=0), number(0), number(0, 0.999999)
DTYPE, FEW = word("float32", "bfloat16"), whole(1, 100)
RULES = [
    (methods, "method"),
    (distinct(whole(0)), "seeds"),
    (flag, "quiet data.flip optim.nesterov eval.corruptions_md5 parallel.deterministic"),
    (flag, "parallel.flat"),
    (text, "data.source data.dir vae.store vae.perceptual_from eval.frost_dir eval.ood"),
    (FRACTION, "data.val_fraction ema_decay optim.warmup optim.momentum vae.ema_decay"),
    (whole(0), "data.split_seed data.limit data.resize data.pad model.width vae.blocks vae.seed"),
    (whole(0), "eval.examples eval.attack_examples eval.apgd_steps eval.linearity_examples"),
    (whole(0), "parallel.devices parallel.steps_per_call"),
    (whole(1), "batch_size vae.latent_size vae.width vae.batch_size vae.adversary.steps"),
    (whole(1), "eval.batch_size eval.attack_steps eval.attack_restarts eval.linearity_steps"),
    (whole(1), "eval.linearity_restarts checkpoints.keep"),
    (whole(1, 1000), "eval.bins"),
    (lambda v: whole(0)(v) and v in (0, 2, 4, 8, 16), "vae.downsample"),
    (POSITIVE, "optim.learning_rate optim.decay vae.learning_rate vae.adversary.eps"),
    (POSITIVE, "vae.adversary.step_size eval.every_epochs eval.attack_eps eval.attack_step_size"),
    (POSITIVE, "eval.linearity_relative_step"),
    (NON_NEGATIVE, "optim.weight_decay optim.clip_norm vae.gamma vae.bandwidth vae.weight_decay"),
    (NON_NEGATIVE, "methods.trades.beta methods.trades.start_sigma vae.perceptual"),
    (number(0, 1e6), "attack_epochs"),
    (number(0, 1e6, above=0), "epochs vae.epochs"),  # "varmixup" needs a VAE
    (DTYPE, "model.dtype vae.dtype"),
    (word(*CLASSIFIERS), "model.name"),
    (word("running", "batch"), "attack_bn"),
    (word("sgd", "adam", "adamw"), "optim.name"),
    (word("constant", "cosine", "onecycle", "piecewise"), "optim.schedule"),
    (increasing, "optim.boundaries"),
    (word("spatial", "vector"), "vae.latent"),
    (word("rbf", "zhao", "imq"), "vae.kernel"),
    (word("unbiased", "biased"), "vae.estimator"),
    (word("recon", "latent"), "vae.adversary.objective"),
    (entries(other_vae), "vae.others"),
    (word("batch", "example"), "vae.drawn"),
    (word("last", "best"), "eval.checkpoint"),
    (word("none", "clean", "all"), "eval.save_logits"),
    (corruptions, "eval.corruptions"),
    (word("", *METHODS), "eval.baseline"),
    (entries(POSITIVE), "eval.linearity_eps"),
    (word("jit", "pmap"), "parallel.via"),
    (word("reconstruct_first", "mix_first"), "methods.mixup_r.order"),
    (word("ce", "bce_softmax"), "methods.manifold_mixup.loss"),
    (
        distinct(whole(0, 4)),
        "methods.noisymix.stages methods.manifold_mixup.stages methods.varmixup_noisymix.stages",
    ),
]
BY_SETTING = {
    "alpha": NON_NEGATIVE, "lam": word("batch", "example"), "clean_weight": number(0, 1),
    "eps": POSITIVE, "step_size": POSITIVE, "steps": whole(1), "consistency": NON_NEGATIVE,
    "views": FEW, "partners": FEW, "sigma_add": NON_NEGATIVE, "sigma_mult": NON_NEGATIVE,
    "then_mixup": flag, "input_noise": flag, "joint": flag, "decoded_views": flag,
    "latent_noise": NON_NEGATIVE, "strength": number(0, 1), "groups": whole(1),
    "amount": word("uniform", "arcsine", "constant"), "styles": FEW,
    "severity": lambda v: number()(v) and (v == 0 or 0.1 <= v <= 10),
}  # fmt: skip
ALLOWED = {field: rule for rule, fields in RULES for field in fields.split()} | {
    f"methods.{method}.{setting}": BY_SETTING[setting]
    for method, entry in METHODS.items()
    for setting in entry.settings
    if setting in BY_SETTING
}
