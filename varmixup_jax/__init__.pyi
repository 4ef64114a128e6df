"""The public names and their modules. Read by type checkers and, at run time, by `__init__.py`."""

from varmixup_jax.attacks.balls import Ball as Ball
from varmixup_jax.attacks.balls import l2 as l2
from varmixup_jax.attacks.balls import linf as linf
from varmixup_jax.attacks.pgd import attack as attack
from varmixup_jax.attacks.pgd import pgd as pgd
from varmixup_jax.corruptions import corrupt as corrupt
from varmixup_jax.divergences import js_divergence as js_divergence
from varmixup_jax.divergences import kl_divergence as kl_divergence
from varmixup_jax.evaluation.any_model import evaluate as evaluate
from varmixup_jax.evaluation.any_model import evaluate_logits as evaluate_logits
from varmixup_jax.evaluation.calibration import (
    expected_calibration_error as expected_calibration_error,
)
from varmixup_jax.evaluation.calibration import reliability_bins as reliability_bins
from varmixup_jax.evaluation.linearity import local_linearity_error as local_linearity_error
from varmixup_jax.evaluation.results import Results as Results
from varmixup_jax.losses import ce as ce
from varmixup_jax.losses import cross_entropy as cross_entropy
from varmixup_jax.losses import js_to_clean as js_to_clean
from varmixup_jax.losses import kl_to_clean as kl_to_clean
from varmixup_jax.methods import METHODS as METHODS
from varmixup_jax.methods import build as build
from varmixup_jax.methods import register as register
from varmixup_jax.mmd import mmd_squared as mmd_squared
from varmixup_jax.mmd import mmd_vae_loss as mmd_vae_loss
from varmixup_jax.models.nnx import nnx_logits as nnx_logits
from varmixup_jax.models.saved import load_model as load_model
from varmixup_jax.types import Distance as Distance
from varmixup_jax.types import Draw as Draw
from varmixup_jax.types import Env as Env
from varmixup_jax.types import Term as Term
from varmixup_jax.types import Vicinity as Vicinity
from varmixup_jax.version import __version__ as __version__
from varmixup_jax.vicinal.augmix import augmix as augmix
from varmixup_jax.vicinal.hidden import mix_hidden as mix_hidden
from varmixup_jax.vicinal.hidden import noisy_hidden as noisy_hidden
from varmixup_jax.vicinal.mixing import Space as Space
from varmixup_jax.vicinal.mixing import chain as chain
from varmixup_jax.vicinal.mixing import dirac as dirac
from varmixup_jax.vicinal.mixing import latents as latents
from varmixup_jax.vicinal.mixing import mix as mix
from varmixup_jax.vicinal.mixing import noisy_latents as noisy_latents
from varmixup_jax.vicinal.mixing import pixels as pixels
from varmixup_jax.vicinal.mixing import reconstructions as reconstructions
from varmixup_jax.vicinal.objective import empirical_risk as empirical_risk
from varmixup_jax.vicinal.restyle import restyle as restyle
