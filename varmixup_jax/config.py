"""The configuration: every field once, with its default, its unit and what it means.

A recipe under `configs/` is a function `get_config(argument)` that changes a few of these. The
command line changes any of them (`--config.optim.learning_rate=0.05`); a field that is not listed
here, or a value of another type, is refused.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Sequence
from typing import Any

from ml_collections import ConfigDict

from varmixup_jax import checks
from varmixup_jax.models import CLASSIFIERS, build_classifier
from varmixup_jax.models.registry import DOWNSAMPLES
from varmixup_jax.training.optim import OPTIMIZERS, SCHEDULES, make_schedule
from varmixup_jax.training.parallel import VIAS
from varmixup_jax.vicinal.methods import METHODS, build, paper_methods
from varmixup_jax.vicinal.objective import ATTACK_BN

ALL = "all"
CHECKPOINT_RULES = ("last", "best")
DTYPES = ("float32", "bfloat16")
MOST_EPOCHS = 1e6
MOST_BINS = 1000


def base_config() -> ConfigDict:
    """All fields with their defaults; locked, so that a misspelt field is an error."""
    c = ConfigDict()

    # What to run. Several methods and seeds share data order, mixing weights and VAE.
    c.method = "varmixup"  # a method, several separated by commas, or "all": the paper's nine
    c.seeds = (0,)  # one run per method and seed; initialisation, data order and all draws
    c.quiet = False  # print nothing but the closing table

    c.data = ConfigDict()
    c.data.source = "digits"  # digits | tfds:<name> | tiny_imagenet | npz:<path>
    c.data.dir = ""  # where the prepared or unpacked set lies; "" for the source's own default
    c.data.val_fraction = 0.1  # of the training set, in [0, 1): held out for model selection
    c.data.split_seed = 0  # of the validation split
    c.data.limit = 0  # keep so many training images; 0 keeps all
    c.data.resize = 0  # pixels a side; 0 keeps the set's own size
    c.data.pad = 0  # random crop out of an image reflect-padded by so many pixels; 0 does not crop
    c.data.flip = False  # random horizontal flip

    c.model = ConfigDict()
    c.model.name = "resnet18"  # one of models.CLASSIFIERS
    c.model.width = 0  # channels of the first stage; 0 for the architecture's own
    c.model.dtype = "float32"  # of the computation, "float32" | "bfloat16"; parameters are float32

    c.epochs = 30.0  # length of training
    c.attack_epochs = 0.0  # the same for methods that attack while they train; 0 for `epochs`
    c.batch_size = 128  # examples a step, over all devices
    c.ema_decay = 0.0  # average of parameters and statistics that is evaluated; 0 for none
    c.attack_bn = "running"  # BatchNorm of the model under attack, "running" | "batch" statistics

    c.optim = ConfigDict()
    c.optim.name = "sgd"  # sgd | adam | adamw
    c.optim.learning_rate = 0.1  # the peak
    c.optim.schedule = "cosine"  # constant | cosine | onecycle | piecewise
    c.optim.warmup = 0.0  # fraction of the run
    c.optim.boundaries = (0.5, 0.75)  # of "piecewise", fractions of the run
    c.optim.decay = 0.1  # of "piecewise", factor at each boundary
    c.optim.momentum = 0.9  # of "sgd"
    c.optim.nesterov = False  # of "sgd"
    c.optim.weight_decay = 5e-4  # coupled for sgd and adam, on every parameter, as in PyTorch
    c.optim.clip_norm = 0.0  # global gradient norm; 0 does not clip

    # The settings of each method; a method registered elsewhere has its section here too.
    c.methods = ConfigDict({name: dict(method.settings) for name, method in METHODS.items()})

    c.vae = ConfigDict()
    c.vae.latent = "spatial"  # "spatial" (a grid) | "vector"
    c.vae.latent_size = 8  # channels of the grid, or length of the vector
    c.vae.downsample = 0  # pixels a side of one grid cell (2, 4, 8, 16); 0 by image size
    c.vae.width = 32  # channels at full resolution
    c.vae.blocks = 1  # residual blocks per resolution
    c.vae.dtype = "float32"  # of the computation
    c.vae.gamma = 0.01  # weight of MMD^2 against the mean squared error per pixel
    c.vae.kernel = "rbf"  # rbf | zhao | imq
    c.vae.bandwidth = 0.0  # s^2 of rbf, exp(-|a-b|^2 / (2 s^2)); 0 for the latent's dimension
    c.vae.estimator = "unbiased"  # "unbiased" | "biased"
    c.vae.epochs = 30.0  # 0 trains none, for methods that need none
    c.vae.batch_size = 128
    c.vae.learning_rate = 1e-3  # AdamW, cosine
    c.vae.weight_decay = 1e-4
    c.vae.ema_decay = 0.999  # of the weights that are used once frozen
    c.vae.seed = 0  # of its own: every classifier seed uses the same VAE
    c.vae.store = ""  # where trained VAEs are kept; "" for the user's cache directory
    c.vae.adversary = ConfigDict()  # of adv_varmixup's VAE
    c.vae.adversary.objective = "recon"  # |D(mu(x+d)) - x|^2 | "latent": |mu(x+d) - mu(x)|^2
    c.vae.adversary.eps = 8 / 255  # l-infinity radius, pixels in [0, 1]
    c.vae.adversary.step_size = 2 / 255
    c.vae.adversary.steps = 10

    c.eval = ConfigDict()
    c.eval.every_epochs = 1.0  # validation, and a checkpoint
    c.eval.checkpoint = "last"  # which one is evaluated: "last" | "best" on validation
    c.eval.batch_size = 500
    c.eval.bins = 15  # of the calibration error
    c.eval.examples = 0  # so many test images, evenly spread; 0 for all
    c.eval.corruptions = "none"  # "none" | "computed" from the test set | a directory of files
    c.eval.corruptions_md5 = False  # compare those files with the published sums (6 s per GB)
    c.eval.frost_dir = ""  # of the frost photographs, or "imagecorruptions"; "" synthesises frost
    c.eval.baseline = "erm"  # method that mCE is relative to, where it was run; "" leaves mCE out
    c.eval.attack_examples = 1000  # so many test images, evenly spread; 0 skips the attack
    c.eval.attack_eps = 8 / 255  # l-infinity radius, pixels in [0, 1]
    c.eval.attack_step_size = 2 / 255
    c.eval.attack_steps = 20
    c.eval.attack_restarts = 1
    c.eval.apgd_steps = 0  # of Auto-PGD (CE and DLR) on the same images; 0 leaves it out
    c.eval.linearity_examples = 1000  # so many test images, evenly spread; 0 skips it
    c.eval.linearity_eps = (2 / 255, 4 / 255, 6 / 255, 8 / 255)  # radii
    c.eval.linearity_steps = 50
    c.eval.linearity_restarts = 3
    c.eval.linearity_relative_step = 0.1  # step size, as a fraction of the radius

    c.checkpoints = ConfigDict()
    c.checkpoints.keep = 2  # latest ones kept, besides the best

    c.parallel = ConfigDict()
    c.parallel.via = "jit"  # "jit" (global BatchNorm and pairs) | "pmap" (per device)
    c.parallel.devices = 0  # of those of all processes; 0 for all
    c.parallel.steps_per_call = 0  # training steps in one program; 0: 100, on CPU 8
    c.parallel.deterministic = False  # equal bits in equal runs on a GPU too, at some speed
    return c.lock()


def selected_methods(config: ConfigDict) -> tuple[str, ...]:
    """The methods `config.method` names, in order, each once."""
    names = [word.strip() for word in config.method.split(",")]
    if names == [ALL]:
        return paper_methods()
    allowed = [*METHODS, ALL] if len(names) == 1 else METHODS
    for name in names:
        checks.one_of(allowed, **{"config.method": name})
    return tuple(dict.fromkeys(names))


def method_argument(argument: str | None, default: str, *presets: str) -> tuple[str, str]:
    """Splits the word after the colon, `configs/x.py:words`, into methods and one preset.

    >>> method_argument("erm,mixup,modern", "varmixup", "modern", "poster_guess")
    ('erm,mixup', 'modern')
    >>> method_argument(None, "varmixup", "modern", "poster_guess")
    ('varmixup', 'modern')
    """
    words = [word.strip() for word in (argument or "").split(",") if word.strip()]
    chosen = [word for word in words if word in presets]
    if len(chosen) > 1:
        raise ValueError(f"config argument = {argument!r}: has more than one preset")
    for word in words:
        checks.one_of([*METHODS, ALL, *presets], **{"config argument": word})
    methods = [word for word in words if word not in presets]
    preset = chosen[0] if chosen else (presets[0] if presets else "")
    return ",".join(methods) or default, preset


def unknown_field(arguments: Sequence[str]) -> ValueError | None:
    """The refusal of the first `--config.a.b=value` whose field does not exist, or None."""
    for argument in arguments:
        name = argument.lstrip("-").split("=")[0]
        if not name.startswith("config."):
            continue
        section: Any = base_config()
        for part in name.split(".")[1:]:
            if not isinstance(section, ConfigDict) or part not in section:
                known = list(section) if isinstance(section, ConfigDict) else []
                near = difflib.get_close_matches(part, known, n=2, cutoff=0.5)
                hint = f"did you mean {' or '.join(near)}?" if near else f"has {', '.join(known)}"
                return ValueError(f"{name}: no such field ({hint})")
            section = section[part]
    return None


def validate(config: ConfigDict, devices: int) -> None:
    """Refuses what cannot run, before anything is written or loaded.

    Args:
      config: a (changed) `base_config()`.
      devices: how many devices the batch would be spread over.

    Raises:
      ValueError: one line that names the field, its value and what is allowed.
    """
    check_fields(config)
    methods = selected_methods(config)
    if not config.seeds or min(config.seeds) < 0:
        raise ValueError(f"config.seeds = {config.seeds}: must be whole numbers >= 0, at least one")
    if len(set(config.seeds)) != len(config.seeds):
        raise ValueError(f"config.seeds = {config.seeds}: must be distinct")

    _check(checks.positive, config, "epochs", "optim.learning_rate", "optim.decay")
    _check(checks.positive, config, "eval.every_epochs", "vae.learning_rate")
    _check(
        checks.non_negative,
        config,
        "optim.weight_decay",
        "optim.clip_norm",
        "vae.epochs",
        "attack_epochs",
    )
    _check(checks.non_negative, config, "vae.gamma", "vae.weight_decay", "vae.bandwidth")
    for field in ("batch_size", "eval.batch_size", "eval.bins", "checkpoints.keep"):
        _check(checks.whole, config, field, bound=(1,))
    for field in ("epochs", "attack_epochs", "vae.epochs"):
        _check(checks.in_range, config, field, bound=(0.0, MOST_EPOCHS))
    _check(checks.in_range, config, "eval.bins", bound=(1, MOST_BINS))
    for field in ("vae.batch_size", "vae.latent_size", "vae.width"):
        _check(checks.whole, config, field, bound=(1,))
    whole_or_default = ("data.pad", "data.limit", "data.resize", "data.split_seed", "model.width")
    whole_or_default += ("vae.blocks", "vae.seed", "parallel.steps_per_call", "parallel.devices")
    for field in whole_or_default:
        _check(checks.whole, config, field, bound=(0,))
    unit = ("ema_decay", "optim.momentum", "optim.warmup", "data.val_fraction", "vae.ema_decay")
    for field in unit:
        _check(checks.in_range, config, field, bound=(0.0, 0.999999))
    for field, allowed in (
        ("model.name", CLASSIFIERS),
        ("model.dtype", DTYPES),
        ("vae.dtype", DTYPES),
        ("attack_bn", ATTACK_BN),
        ("optim.name", OPTIMIZERS),
        ("optim.schedule", SCHEDULES),
        ("parallel.via", VIAS),
        ("eval.checkpoint", CHECKPOINT_RULES),
        ("vae.latent", ("spatial", "vector")),
        ("vae.downsample", (0, *DOWNSAMPLES)),
        ("vae.kernel", ("rbf", "zhao", "imq")),
        ("vae.estimator", ("unbiased", "biased")),
        ("vae.adversary.objective", ("recon", "latent")),
    ):
        _check(checks.one_of, config, field, bound=(allowed,))
    _validate_optimizer(config)
    _validate_evaluation(config)
    for name in methods:
        _validate_method(config, name)
    for field in ("batch_size", "vae.batch_size"):
        if field == "vae.batch_size" and not any(METHODS[m].vae != "none" for m in methods):
            continue
        size = _value(config, field)
        if size % devices:
            text = f"must be divisible by the {devices} devices"
            raise ValueError(f"config.{field} = {size}: {text}")
    if config.eval.checkpoint == "best" and config.data.val_fraction == 0:
        text = "must be > 0 to select the best checkpoint (config.eval.checkpoint)"
        raise ValueError(f"config.data.val_fraction = {config.data.val_fraction}: {text}")


def check_fields(config: Any) -> None:
    """Refuses what does not have the fields of `base_config()` with their types.

    Raises:
      ValueError: one line that names the field, its value and what is allowed.
    """
    if not isinstance(config, ConfigDict):
        text = "must be a changed base_config(), as get_config of the recipe returns"
        raise ValueError(f"config = {checks.shown(config)}: {text}")
    checks.like(base_config().to_dict(), "config", config.to_dict())


def _validate_optimizer(config: ConfigDict) -> None:
    c = config.optim
    try:
        make_schedule(
            c.schedule,
            learning_rate=c.learning_rate,
            total_steps=1,
            warmup=c.warmup,
            boundaries=tuple(c.boundaries),
            decay=c.decay,
        )
    except ValueError as error:
        raise ValueError(f"config.optim.{error}") from None


def _validate_evaluation(config: ConfigDict) -> None:
    _check(checks.whole, config, "eval.examples", bound=(0,))
    checks.one_of([*METHODS, ""], **{"config.eval.baseline": config.eval.baseline})
    where = config.eval.corruptions
    if where not in ("none", "computed") and (not where or not os.path.exists(where)):
        text = "must be none, computed, or a directory (or archive) of corrupted images"
        raise ValueError(f"config.eval.corruptions = {checks.shown(where)}: {text}")
    _check(checks.whole, config, "eval.attack_examples", bound=(0,))
    _check(checks.whole, config, "eval.linearity_examples", bound=(0,))
    _check(checks.whole, config, "eval.apgd_steps", bound=(0,))
    if config.eval.attack_examples:
        _check(checks.positive, config, "eval.attack_eps", "eval.attack_step_size")
        for field in ("eval.attack_steps", "eval.attack_restarts"):
            _check(checks.whole, config, field, bound=(1,))
    if config.eval.linearity_examples:
        for field in ("eval.linearity_steps", "eval.linearity_restarts"):
            _check(checks.whole, config, field, bound=(1,))
        _check(checks.positive, config, "eval.linearity_relative_step")
        for eps in config.eval.linearity_eps:
            checks.positive(**{"config.eval.linearity_eps": eps})


def _validate_method(config: ConfigDict, name: str) -> None:
    section = f"config.methods.{name}"
    settings = config.methods[name].to_dict()
    for field in ("eps", "step_size"):
        if field in settings:
            checks.positive(**{f"{section}.{field}": settings[field]})
    if "steps" in settings:
        checks.whole(1, **{f"{section}.steps": settings["steps"]})
    try:
        build(name, **settings)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{section}.{error}") from None
    if "stages" in settings:
        last = build_classifier(config.model.name, num_classes=2, mean=[0.5], std=[0.5]).num_stages
        if max(settings["stages"]) > last:
            text = f"must be stages of {config.model.name}, 0 to {last}"
            raise ValueError(f"{section}.stages = {settings['stages']}: {text}")
    if METHODS[name].vae == "none":
        return
    if config.vae.epochs <= 0:
        text = f"method {name!r} needs a VAE, must be > 0"
        raise ValueError(f"config.vae.epochs = {config.vae.epochs}: {text}")
    if METHODS[name].vae == "adversarial":
        _check(checks.positive, config, "vae.adversary.eps", "vae.adversary.step_size")
        _check(checks.whole, config, "vae.adversary.steps", bound=(1,))


def _value(config: ConfigDict, field: str) -> Any:
    for part in field.split("."):
        config = config[part]
    return config


def _check(rule: Any, config: ConfigDict, *fields: str, bound: tuple = ()) -> None:
    rule(*bound, **{f"config.{field}": _value(config, field) for field in fields})
