"""The sections of the configuration: every field with its type, default, meaning, unit and rules."""

from __future__ import annotations

import os
from dataclasses import dataclass

from varmixup_jax import checks
from varmixup_jax.declare import (
    at_least_0,
    at_least_1,
    choice,
    fraction,
    length,
    optional,
    setting,
)
from varmixup_jax.evaluation.protocol import EvaluationProtocol
from varmixup_jax.methods import METHODS
from varmixup_jax.mmd import KERNELS
from varmixup_jax.models import CLASSIFIERS
from varmixup_jax.models.build import DOWNSAMPLES, DTYPES, LATENTS
from varmixup_jax.training.optim import OPTIMIZERS, SCHEDULES
from varmixup_jax.training.parallel import VIAS
from varmixup_jax.training.vae_loss import ADVERSARIES, ESTIMATORS
from varmixup_jax.vicinal.several_vaes import DRAWN

CHECKPOINT_RULES = ("last", "best")


def _method_or_none(**names: str) -> None:  # those registered since, too
    checks.one_of([*METHODS, ""], **names)


def _corruptions(**words: str) -> None:
    for name, where in words.items():
        if where not in ("none", "computed") and (
            not where or not os.path.exists(os.path.expanduser(where))
        ):
            text = "must be none, computed, or a directory (or archive) of corrupted images"
            raise ValueError(f"{name} = {checks.shown(where)}: {text}")


@dataclass(frozen=True)
class DataConfig:
    """The data set, its splits and what is done to a training image."""

    source: str = setting("digits", "digits | tfds:<name> | tiny_imagenet | npz:<path>")
    dir: str | None = optional(
        "", 'where the prepared or unpacked set lies; "": the source\'s own place'
    )
    val_fraction: float = setting(
        0.1, "of the training set, held out for model selection; in [0, 1)", fraction
    )
    split_seed: int = setting(0, "of the validation split", at_least_0)
    limit: int | None = optional(0, "training images to keep; 0: all", at_least_0)
    resize: int | None = optional(0, "pixels a side; 0: the set's own size", at_least_0)
    pad: int = setting(
        0, "pixels of reflected border that a random crop is taken from; 0: no crop", at_least_0
    )
    flip: bool = setting(False, "random horizontal flip")


@dataclass(frozen=True)
class ModelConfig:
    """The classifier."""

    name: str = setting("resnet18", " | ".join(CLASSIFIERS), choice(*CLASSIFIERS))
    width: int | None = optional(
        0, "channels of the first stage; 0: the architecture's own", at_least_0
    )
    dtype: str = setting(
        "float32",
        "of the computation, float32 | bfloat16; parameters are float32",
        choice(*DTYPES),
    )


@dataclass(frozen=True)
class OptimConfig:
    """How the classifier is optimised."""

    name: str = setting("sgd", " | ".join(OPTIMIZERS), choice(*OPTIMIZERS))
    learning_rate: float = setting(0.1, "the peak", checks.positive)
    schedule: str = setting("cosine", " | ".join(SCHEDULES), choice(*SCHEDULES))
    warmup: float = setting(0.0, "fraction of the run", fraction)
    boundaries: tuple[float, ...] = setting(
        (0.5, 0.75), "of piecewise: fractions of the run", checks.increasing_fractions
    )
    decay: float = setting(0.1, "of piecewise: factor at each boundary", checks.positive)
    momentum: float = setting(0.9, "of sgd", fraction)
    nesterov: bool = setting(False, "of sgd")
    weight_decay: float = setting(
        5e-4,
        "coupled for sgd and adam, on every parameter, as in PyTorch",
        checks.non_negative,
    )
    clip_norm: float | None = optional(
        0.0, "global norm of the gradient; 0: no clipping", checks.non_negative
    )


@dataclass(frozen=True)
class AdversaryConfig:
    """The attack that adv_varmixup's VAE is trained against."""

    objective: str = setting(
        "recon",
        "of adv_varmixup's VAE: recon, |D(mu(x+d)) - x|^2 | latent, |mu(x+d) - mu(x)|^2",
        choice(*ADVERSARIES),
    )
    eps: float = setting(8 / 255, "l-infinity radius, pixels in [0, 1]", checks.positive)
    step_size: float = setting(2 / 255, "pixels in [0, 1]", checks.positive)
    steps: int = setting(10, "of PGD", at_least_1)


@dataclass(frozen=True)
class VaeConfig:
    """A VAE and its training."""

    latent: str = setting("spatial", "spatial (a grid) | vector", choice(*LATENTS))
    latent_size: int = setting(8, "channels of the grid, or length of the vector", at_least_1)
    downsample: int | None = optional(
        0,
        "pixels a side of one grid cell (2, 4, 8, 16); 0: by image size",
        choice(0, *DOWNSAMPLES),
    )
    width: int = setting(32, "channels at full resolution", at_least_1)
    blocks: int = setting(1, "residual blocks per resolution", at_least_0)
    dtype: str = setting("float32", "of the computation, float32 | bfloat16", choice(*DTYPES))
    gamma: float = setting(
        0.01, "weight of MMD^2 against the mean squared error per pixel", checks.non_negative
    )
    kernel: str = setting("rbf", " | ".join(KERNELS), choice(*KERNELS))
    bandwidth: float | None = optional(
        0.0,
        "s^2 of rbf, exp(-|a-b|^2 / (2 s^2)); 0: the latent's dimension",
        checks.non_negative,
    )
    estimator: str = setting("unbiased", "of MMD^2, " + " | ".join(ESTIMATORS), choice(*ESTIMATORS))
    perceptual: float = setting(
        0.0,
        "weight of the distance in features of a frozen classifier, each of unit length; 0: none",
        checks.non_negative,
    )
    perceptual_from: str | None = optional(
        "", "that classifier: a run's directory, or its model.npz; used where perceptual > 0"
    )
    epochs: float = setting(
        30.0, "0: none is trained, for methods that need none", checks.non_negative, length
    )
    batch_size: int = setting(128, "examples a step, over all devices", at_least_1)
    learning_rate: float = setting(1e-3, "the peak; AdamW, cosine", checks.positive)
    weight_decay: float = setting(1e-4, "decoupled", checks.non_negative)
    ema_decay: float = setting(0.999, "of the weights that are used once frozen", fraction)
    seed: int = setting(0, "of its own: classifiers of every seed use the same VAE", at_least_0)
    others: tuple[str, ...] = setting(
        (),
        "further VAEs that samples are drawn over, each as the fields of this section it changes: "
        '"width=32 latent_size=4"',
    )
    drawn: str = setting("batch", "each draws one of them: batch | example", choice(*DRAWN))
    store: str | None = optional("", 'where trained VAEs are kept; "": the user\'s cache directory')
    adversary: AdversaryConfig = AdversaryConfig()


@dataclass(frozen=True)
class EvalConfig(EvaluationProtocol):
    """What is measured, when, and on which images."""

    every_epochs: float = setting(
        1.0, "epochs between validations, and checkpoints", checks.positive
    )
    checkpoint: str = setting(
        "last", "which one is evaluated: last | best on validation", choice(*CHECKPOINT_RULES)
    )
    examples: int | None = optional(0, "test images, evenly spread; 0: all", at_least_0)
    ood: str | None = optional(
        "",
        "another data set, as data.source, that confidence tells from the test images (AUROC, "
        'FPR95); "": none',
    )
    corruptions: str | None = optional(
        "none",
        "none | computed (from the test set) | a directory or archive of files",
        _corruptions,
    )
    corruptions_md5: bool = setting(
        False, "compare those files with the published sums (6 s per GB)"
    )
    frost_dir: str | None = optional(
        "",
        "imagecorruptions (the photographs in that package) | a directory of them | synthetic | "
        '"": the package\'s where it is installed, else synthetic. Rows say which it was',
    )
    baseline: str | None = optional(
        "erm",
        'method that mCE is relative to, where it was run; "": no mCE',
        _method_or_none,
        none="",
    )


@dataclass(frozen=True)
class CheckpointsConfig:
    """What is kept of a run while it trains."""

    keep: int = setting(2, "latest ones kept, besides the best", at_least_1)


@dataclass(frozen=True)
class ParallelConfig:
    """How the work is spread over devices."""

    via: str = setting("jit", "jit (global BatchNorm and pairs) | pmap (per device)", choice(*VIAS))
    devices: int | None = optional(0, "of those of all processes; 0: all", at_least_0)
    steps_per_call: int | None = optional(
        0, "training steps in one program; 0: 100, on CPU 8", at_least_0
    )
    flat: bool = setting(
        False,
        "parameters, optimiser and average in one vector inside the program: fewer kernels on a GPU; "
        "numbers change by rounding",
    )
    deterministic: bool = setting(False, "equal bits in equal runs on a GPU too, at some speed")
