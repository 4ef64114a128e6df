"""Floating-point operations of a network, counted in its traced program, and peaks of devices."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend import core as jex_core

from benchmarks import cases

# Dense bfloat16 TFLOP/s by a part of the device's name: nominal, and as reached by large matrix
# products (which fractions refer to). The first match counts.
PEAKS = (
    ("H200", 989.0, 790.0),
    ("H100 PCIe", 756.0, 600.0),
    ("H100", 989.0, 790.0),
    ("A100", 312.0, 260.0),
    ("TPU v5p", 459.0, 390.0),
    ("TPU v5 lite", 197.0, 170.0),
    ("TPU v6", 918.0, 780.0),
)


def peak(device_kind: str) -> tuple[float, float] | None:
    """(nominal, sustained) TFLOP/s of dense bfloat16, or None for a device that is not listed."""
    found = [(n, s) for part, n, s in PEAKS if part.lower() in device_kind.lower()]
    return found[0] if found else None


def forward(case: cases.Case) -> float:
    """FLOP of one image's forward pass: convolutions and matrix products, 2 per multiply-add."""
    image = jax.ShapeDtypeStruct((1, case.size, case.size, 3), jnp.float32)
    return count(cases.logits(case), case.variables, image)


def decode(case: cases.Case) -> float:
    """FLOP of decoding one latent."""
    latent = jax.ShapeDtypeStruct((1, *case.vae.latent_shape), jnp.float32)
    return count(case.vae.decode, case.vae_params, latent)


def train_step(case: cases.Case, method: str = "erm") -> float:
    """FLOP of one image's share of a training step.

    Three forward passes minus the gradient with respect to the pixels; VAE methods add one decode.
    """
    width = case.module.stem_width or case.module.width
    stem = 2 * 9 * 3 * width * case.size**2
    extra = decode(case) if method in ("varmixup", "adv_varmixup", "mixup_r") else 0.0
    return 3 * forward(case) - stem + extra


def attack_step(case: cases.Case) -> float:
    """FLOP of one image's share of one attack step: forward, and back to the pixels only."""
    return 2 * forward(case)


def count(function: Any, *args: Any) -> float:
    """FLOP of the convolutions and matrix products in a function, not counting loops."""
    return _of(jax.make_jaxpr(function)(*args).jaxpr)


def _of(jaxpr: jex_core.Jaxpr) -> float:
    total = 0.0
    for equation in jaxpr.eqns:
        outputs = math.prod(equation.outvars[0].aval.shape)
        if equation.primitive.name == "conv_general_dilated":
            kernel = equation.invars[1].aval.shape
            out_axis = equation.params["dimension_numbers"].rhs_spec[0]
            total += 2.0 * outputs * math.prod(kernel) / kernel[out_axis]
        elif equation.primitive.name == "dot_general":
            (contracted, _), _ = equation.params["dimension_numbers"]
            shape = equation.invars[0].aval.shape
            total += 2.0 * outputs * math.prod(shape[axis] for axis in contracted)
        for value in equation.params.values():
            for inner in value if isinstance(value, (tuple, list)) else (value,):
                inner = getattr(inner, "jaxpr", inner)
                if isinstance(inner, jex_core.Jaxpr):
                    total += _of(inner)
    return total
