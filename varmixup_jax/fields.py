"""Every configuration field once: default, unit, meaning, what is allowed and when that matters.

`varmixup fields [PREFIX]` prints them. `config.base_config` (and with it the command line) takes its
defaults from here, `validation.validate` its ranges and choices.
"""

from __future__ import annotations

import argparse
import functools
import operator
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from varmixup_jax import checks
from varmixup_jax.evaluation.record import KEPT
from varmixup_jax.methods import METHODS
from varmixup_jax.mmd import KERNELS
from varmixup_jax.models import CLASSIFIERS
from varmixup_jax.models.build import DOWNSAMPLES
from varmixup_jax.training.optim import OPTIMIZERS, SCHEDULES
from varmixup_jax.training.parallel import VIAS
from varmixup_jax.training.vae_loss import ADVERSARIES, ESTIMATORS
from varmixup_jax.vicinal.objective import ATTACK_BN
from varmixup_jax.vicinal.several_vaes import DRAWN

Rule = Callable[..., None]
"""`rule(**{name: value})` raises a ValueError of one line that names the field."""

DESCRIPTION = """Lists the fields of the configuration: name = default, unit and meaning.

examples:
  varmixup fields eval
  varmixup fields optim. methods.varmixup"""

CHECKPOINT_RULES = ("last", "best")
DTYPES = ("float32", "bfloat16")
LATENTS = ("spatial", "vector")


class Field(NamedTuple):
    """One field of the configuration.

    Attributes:
      default: its value, whose type the field keeps.
      meaning: what it does, its unit, and what a special value stands for.
      rules: what values are allowed.
      used_if: the field that must not be 0 for the rules to hold, since nothing reads the value else;
        None where they always do.
    """

    default: Any
    meaning: str
    rules: tuple[Rule, ...] = ()
    used_if: str | None = None


_positive = (checks.positive,)
_non_negative = (checks.non_negative,)
_at_least_0 = (partial(checks.whole, 0),)
_at_least_1 = (partial(checks.whole, 1),)
_fraction = (partial(checks.in_range, 0.0, 0.999999),)
_length = partial(checks.in_range, 0.0, 1e6)


def _choice(*allowed: Any) -> tuple[Rule, ...]:
    return (partial(checks.one_of, allowed),)


def _each_positive(**radii: Iterable[float]) -> None:
    for name, values in radii.items():
        for value in values:
            checks.positive(**{name: value})


def _distinct(**seeds: tuple[int, ...]) -> None:
    for name, values in seeds.items():
        if not values or min(values) < 0:
            text = "must be whole numbers >= 0, at least one"
            raise ValueError(f"{name} = {values}: {text}")
        if len(set(values)) != len(values):
            raise ValueError(f"{name} = {values}: must be distinct")


def _method_or_none(**names: str) -> None:  # those registered since, too
    checks.one_of([*METHODS, ""], **names)


_ATTACK, _LINEARITY = "eval.attack_examples", "eval.linearity_examples"

FIELDS: dict[str, Field] = {
    "method": Field(
        "varmixup", 'a method, several separated by commas, or "all": the nine of the paper'
    ),
    "seeds": Field(
        (0,), "one run per method and seed: initialisation, data order, draws", (_distinct,)
    ),
    "quiet": Field(False, "print nothing but the closing table"),
    "data.source": Field("digits", "digits | tfds:<name> | tiny_imagenet | npz:<path>"),
    "data.dir": Field("", 'where the prepared or unpacked set lies; "": the source\'s own place'),
    "data.val_fraction": Field(
        0.1, "of the training set, held out for model selection; in [0, 1)", _fraction
    ),
    "data.split_seed": Field(0, "of the validation split", _at_least_0),
    "data.limit": Field(0, "training images to keep; 0: all", _at_least_0),
    "data.resize": Field(0, "pixels a side; 0: the set's own size", _at_least_0),
    "data.pad": Field(
        0, "pixels of reflected border that a random crop is taken from; 0: no crop", _at_least_0
    ),
    "data.flip": Field(False, "random horizontal flip"),
    "model.name": Field("resnet18", " | ".join(CLASSIFIERS), _choice(*CLASSIFIERS)),
    "model.width": Field(0, "channels of the first stage; 0: the architecture's own", _at_least_0),
    "model.dtype": Field(
        "float32",
        "of the computation, float32 | bfloat16; parameters are float32",
        _choice(*DTYPES),
    ),
    "epochs": Field(30.0, "length of training", (checks.positive, _length)),
    "attack_epochs": Field(
        0.0,
        "the same for methods registered with attacks=True; 0: `epochs`",
        (checks.non_negative, _length),
    ),
    "batch_size": Field(128, "examples a step, over all devices", _at_least_1),
    "ema_decay": Field(
        0.0, "of the average of parameters and statistics that is evaluated; 0: none", _fraction
    ),
    "attack_bn": Field(
        "running",
        "BatchNorm of the model under attack: running | batch statistics",
        _choice(*ATTACK_BN),
    ),
    "optim.name": Field("sgd", " | ".join(OPTIMIZERS), _choice(*OPTIMIZERS)),
    "optim.learning_rate": Field(0.1, "the peak", _positive),
    "optim.schedule": Field("cosine", " | ".join(SCHEDULES), _choice(*SCHEDULES)),
    "optim.warmup": Field(0.0, "fraction of the run", _fraction),
    "optim.boundaries": Field((0.5, 0.75), "of piecewise: fractions of the run"),
    "optim.decay": Field(0.1, "of piecewise: factor at each boundary", _positive),
    "optim.momentum": Field(0.9, "of sgd", _fraction),
    "optim.nesterov": Field(False, "of sgd"),
    "optim.weight_decay": Field(
        5e-4, "coupled for sgd and adam, on every parameter, as in PyTorch", _non_negative
    ),
    "optim.clip_norm": Field(0.0, "global norm of the gradient; 0: no clipping", _non_negative),
    "vae.latent": Field("spatial", "spatial (a grid) | vector", _choice(*LATENTS)),
    "vae.latent_size": Field(8, "channels of the grid, or length of the vector", _at_least_1),
    "vae.downsample": Field(
        0,
        "pixels a side of one grid cell (2, 4, 8, 16); 0: by image size",
        _choice(0, *DOWNSAMPLES),
    ),
    "vae.width": Field(32, "channels at full resolution", _at_least_1),
    "vae.blocks": Field(1, "residual blocks per resolution", _at_least_0),
    "vae.dtype": Field("float32", "of the computation, float32 | bfloat16", _choice(*DTYPES)),
    "vae.gamma": Field(
        0.01, "weight of MMD^2 against the mean squared error per pixel", _non_negative
    ),
    "vae.kernel": Field("rbf", " | ".join(KERNELS), _choice(*KERNELS)),
    "vae.bandwidth": Field(
        0.0, "s^2 of rbf, exp(-|a-b|^2 / (2 s^2)); 0: the latent's dimension", _non_negative
    ),
    "vae.estimator": Field("unbiased", "of MMD^2, " + " | ".join(ESTIMATORS), _choice(*ESTIMATORS)),
    "vae.epochs": Field(
        30.0, "0: none is trained, for methods that need none", (checks.non_negative, _length)
    ),
    "vae.batch_size": Field(128, "examples a step, over all devices", _at_least_1),
    "vae.learning_rate": Field(1e-3, "the peak; AdamW, cosine", _positive),
    "vae.weight_decay": Field(1e-4, "decoupled", _non_negative),
    "vae.ema_decay": Field(0.999, "of the weights that are used once frozen", _fraction),
    "vae.seed": Field(0, "of its own: classifiers of every seed use the same VAE", _at_least_0),
    "vae.others": Field(
        (),
        "further VAEs that samples are drawn over, each as the fields of this section it changes: "
        '"width=32 latent_size=4"',
    ),
    "vae.drawn": Field("batch", "each draws one of them: batch | example", _choice(*DRAWN)),
    "vae.store": Field("", 'where trained VAEs are kept; "": the user\'s cache directory'),
    "vae.adversary.objective": Field(
        "recon",
        "of adv_varmixup's VAE: recon, |D(mu(x+d)) - x|^2 | latent, |mu(x+d) - mu(x)|^2",
        _choice(*ADVERSARIES),
    ),
    "vae.adversary.eps": Field(8 / 255, "l-infinity radius, pixels in [0, 1]"),
    "vae.adversary.step_size": Field(2 / 255, "pixels in [0, 1]"),
    "vae.adversary.steps": Field(10, "of PGD"),
    "eval.every_epochs": Field(1.0, "epochs between validations, and checkpoints", _positive),
    "eval.checkpoint": Field(
        "last", "which one is evaluated: last | best on validation", _choice(*CHECKPOINT_RULES)
    ),
    "eval.batch_size": Field(500, "images, over all devices", _at_least_1),
    "eval.bins": Field(
        15,
        "of the calibration error",
        (partial(checks.whole, 1), partial(checks.in_range, 1, 1000)),
    ),
    "eval.examples": Field(0, "test images, evenly spread; 0: all", _at_least_0),
    "eval.ood": Field(
        "",
        "another data set, as data.source, that confidence tells from the test images (AUROC, "
        'FPR95); "": none',
    ),
    "eval.save_logits": Field(
        "clean",
        "of which test images logits.npz keeps what the model said: none | clean | all views",
        _choice(*KEPT),
    ),
    "eval.corruptions": Field(
        "none", "none | computed (from the test set) | a directory or archive of files"
    ),
    "eval.corruptions_md5": Field(
        False, "compare those files with the published sums (6 s per GB)"
    ),
    "eval.frost_dir": Field(
        "",
        "imagecorruptions (the photographs in that package) | a directory of them | synthetic | "
        '"": the package\'s where it is installed, else synthetic. Rows say which it was',
    ),
    "eval.baseline": Field(
        "erm",
        'method that mCE is relative to, where it was run; "": no mCE',
        (_method_or_none,),
    ),
    _ATTACK: Field(1000, "test images, evenly spread; 0: no attack", _at_least_0),
    "eval.attack_eps": Field(8 / 255, "l-infinity radius, pixels in [0, 1]", _positive, _ATTACK),
    "eval.attack_step_size": Field(2 / 255, "pixels in [0, 1]", _positive, _ATTACK),
    "eval.attack_steps": Field(20, "of PGD", _at_least_1, _ATTACK),
    "eval.attack_restarts": Field(1, "of PGD, the worst is kept", _at_least_1, _ATTACK),
    "eval.apgd_steps": Field(
        0, "of Auto-PGD (CE and DLR) on the same images; 0: left out", _at_least_0
    ),
    _LINEARITY: Field(1000, "test images, evenly spread; 0: not measured", _at_least_0),
    "eval.linearity_eps": Field(
        (2 / 255, 4 / 255, 6 / 255, 8 / 255),
        "radii, pixels in [0, 1]",
        (_each_positive,),
        _LINEARITY,
    ),
    "eval.linearity_steps": Field(50, "of the search", _at_least_1, _LINEARITY),
    "eval.linearity_restarts": Field(3, "of the search", _at_least_1, _LINEARITY),
    "eval.linearity_relative_step": Field(
        0.1, "step size, as a fraction of the radius", _positive, _LINEARITY
    ),
    "checkpoints.keep": Field(2, "latest ones kept, besides the best", _at_least_1),
    "parallel.via": Field(
        "jit", "jit (global BatchNorm and pairs) | pmap (per device)", _choice(*VIAS)
    ),
    "parallel.devices": Field(0, "of those of all processes; 0: all", _at_least_0),
    "parallel.steps_per_call": Field(
        0, "training steps in one program; 0: 100, on CPU 8", _at_least_0
    ),
    "parallel.deterministic": Field(False, "equal bits in equal runs on a GPU too, at some speed"),
}


def value_of(config: Mapping[str, Any], name: str) -> Any:
    """The value of a dotted name in nested mappings."""
    return functools.reduce(operator.getitem, name.split("."), config)


def check(config: Mapping[str, Any]) -> None:
    """Applies every field's rules.

    Args:
      config: nested, with at least the fields of `FIELDS`, of their types.

    Raises:
      ValueError: one line that names the field, its value and what is allowed.
    """
    for name, field in FIELDS.items():
        if field.used_if is not None and not value_of(config, field.used_if):
            continue
        for rule in field.rules:
            rule(**{f"config.{name}": value_of(config, name)})


def lines(prefix: str = "") -> Iterator[str]:
    """One line per field whose name starts with `prefix`, the settings of methods among them.

    >>> next(lines("vae.gamma"))
    'vae.gamma = 0.01    weight of MMD^2 against the mean squared error per pixel'
    """
    for name, field in FIELDS.items():
        if name.startswith(prefix):
            yield f"{name} = {field.default!r}    {field.meaning}"
    for method, entry in METHODS.items():
        for setting, default in entry.settings.items():
            name = f"methods.{method}.{setting}"
            if name.startswith(prefix):
                yield f"{name} = {default!r}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="varmixup fields",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("prefixes", metavar="PREFIX", nargs="*", help="of names; none: all fields")
    prefixes = parser.parse_args(arguments).prefixes or [""]
    found = [line for prefix in prefixes for line in lines(prefix)]
    if not found:
        print(f"error: {' '.join(prefixes)}: no field starts with this", file=sys.stderr)
        return 2
    print("\n".join(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
