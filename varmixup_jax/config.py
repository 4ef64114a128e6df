"""The configuration: every field once, with its default, its unit and what it means.

A recipe under `configs/` is a function `get_config(argument)` that changes a few of these. The
command line changes any of them (`--config.optim.learning_rate=0.05`); a field that is not listed
here, or a value of another type, is refused.
"""

from __future__ import annotations

from ml_collections import ConfigDict

from varmixup_jax import checks
from varmixup_jax.methods import METHODS, paper_methods

ALL = "all"


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
    c.attack_epochs = 0.0  # the same for methods registered with attacks=True; 0 for `epochs`
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
    # Frost: "imagecorruptions" (the photographs in that package) | a directory of them | "synthetic" |
    # "": the package's where it is installed, else synthetic. The rows of a run say which it was.
    c.eval.frost_dir = ""
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
