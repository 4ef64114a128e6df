"""Saves a trained classifier, with its VAE if it has one, as one file of named arrays, and loads it.

`model.npz` is self-contained: besides the arrays it holds the networks' architectures, so that no
configuration, no data set and no pickle is needed to use it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from varmixup_jax import checks
from varmixup_jax.atomic_files import dumps, loads, read_arrays
from varmixup_jax.models import vae as networks
from varmixup_jax.models.forward import VAE, as_apply, as_vae, for_measures
from varmixup_jax.models.resnet import ResNet
from varmixup_jax.types import Array, PyTree

FILE = "model.npz"
ABOUT = "about"  # the JSON text beside the arrays
NO_MODEL = "is not a model file"
MODULES = {"ResNet": ResNet, "VAE": networks.VAE}


class Model(NamedTuple):
    """A trained classifier as pure functions over its variables.

    Attributes:
      logits: `image [B, H, W, C]` float32 in [0, 1] `-> [B, K]` float32, in evaluation mode, computed
        in float32 whatever the training dtype, as for its measures.
      params, stats: of the classifier, the ones that were evaluated.
      vae: the VAE it was trained with, None without; its latents are not in the file.
      about: `run`, `method`, `seed`, `dataset`, `image_shape`, `label_names`, and how the networks
        are built.
    """

    logits: Callable[[Array], Array]
    params: PyTree
    stats: PyTree
    vae: VAE | None
    about: Mapping[str, Any]

    @property
    def apply(self) -> Callable[..., tuple[Array, PyTree]]:
        """The classifier as returned by `as_apply`, in the dtype that it was trained in."""
        return as_apply(_module(self.about["classifier"]))

    @property
    def encode(self) -> Callable[[Array], Array] | None:
        """`image -> [B, *latent_shape]`, the mean of the VAE; None without one."""
        return None if self.vae is None else partial(_mean, self.vae.encode, self.vae.params)

    @property
    def decode(self) -> Callable[[Array], Array] | None:
        """`latent -> image [B, H, W, C]` in [0, 1]; None without a VAE."""
        return None if self.vae is None else partial(self.vae.decode, self.vae.params)


def as_arrays(
    classifier: nn.Module,
    params: PyTree,
    stats: PyTree,
    *,
    vae: VAE | None = None,
    **about: Any,
) -> dict[str, np.ndarray]:
    """The content of a model file: what `np.savez` takes.

    Args:
      classifier, params, stats: the network and its variables.
      vae: the VAE it was trained with, or None.
      **about: further entries, any JSON values.

    Returns:
      float32 arrays by path, such as `params/stem/kernel`, `stats/stem_norm/mean` and
      `vae/decoder/stem/kernel`; kernels are HWIO as in Flax.
    """
    trees = {"params": params, "stats": stats, "vae": vae.params if vae else {}}
    arrays = {name: np.asarray(leaf) for name, leaf in flatten_dict(trees, sep="/").items()}
    about |= {"classifier": _fields(classifier), "vae": None, "vae_info": None}
    if vae is not None and vae.network is not None:
        about |= {"vae": _fields(vae.network), "vae_info": dict(vae.info)}
    return {**arrays, ABOUT: np.array(dumps(about))}


def load_model(path: Path | str) -> Model:
    """A trained model from a run directory, or from a `model.npz` taken out of one.

    Args:
      path: the directory or the file.

    Returns:
      A `Model`; `jax.jit(model.logits)` is a pure function that any other code can evaluate.

    Raises:
      ValueError: there is no such file, or it is damaged or not a model file.
    """
    file = Path(path)
    if file.is_dir():
        file /= FILE
    if not file.is_file():
        raise ValueError(f"{file}: no such file, must be the {FILE} of a run that was trained")
    arrays = read_arrays(file, NO_MODEL)
    for name, array in arrays.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise ValueError(
                f"{file}: {name} has values that are not finite, must be an intact model"
            )
    try:
        about = loads(str(arrays.pop(ABOUT)))
        leaves = {name: jnp.asarray(array) for name, array in arrays.items()}
        classifier = _module(about["classifier"])
        vae = as_vae(_module(about["vae"])) if about["vae"] else None
    except Exception as error:  # the file may hold anything
        raise ValueError(f"{file}: {NO_MODEL} ({checks.one_line(error)})") from None
    trees = unflatten_dict(leaves, sep="/")
    params, stats = trees.get("params", {}), trees.get("stats", {})
    shape = tuple(about.get("image_shape", ()))
    logits = partial(_logits, as_apply(for_measures(classifier)), shape, params, stats)
    if vae is not None:
        vae = vae._replace(params=trees["vae"], info=about.get("vae_info") or {})
    return Model(logits, params, stats, vae, about)


def _logits(
    apply: Callable[..., Any],
    shape: tuple[int, ...],
    params: PyTree,
    stats: PyTree,
    image: Array,
) -> Array:
    checks.pixels(image=image)
    if shape and image.shape[1:] != shape:  # averaging over space, it would take any size
        text = f"must be {list(shape)} as those it was trained on"
        raise ValueError(f"image: has images {list(image.shape[1:])}, {text}")
    return apply(params, stats, image, train=False)[0]


def _mean(encode: Callable[..., tuple[Array, Array]], params: PyTree, image: Array) -> Array:
    checks.pixels(image=image)
    return encode(params, image)[0]


def _fields(module: nn.Module) -> dict[str, Any]:
    """The class and the fields of a module: all that is needed to rebuild it."""
    own = [f.name for f in dataclasses.fields(module) if f.name not in ("parent", "name")]
    return {"class": type(module).__name__, **{name: getattr(module, name) for name in own}}


def _module(fields: Mapping[str, Any]) -> nn.Module:
    kind, *names = fields
    checks.one_of(MODULES, **{kind: fields[kind]})
    settings = {k: tuple(v) if isinstance(v, list) else v for k, v in fields.items() if k in names}
    return MODULES[fields[kind]](**settings)
