"""What an evaluation measures and how: the fields that `config.eval` and `evaluate` share."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from varmixup_jax import checks
from varmixup_jax.declare import at_least_0, at_least_1, choice, each_positive, optional, setting

KEPT = ("none", "clean", "all")
_ATTACK, _LINEARITY = "attack_examples", "linearity_examples"


@dataclass(frozen=True)
class EvaluationProtocol:
    """How a classifier is measured, whatever it is and wherever its images come from."""

    batch_size: int = setting(500, "images, over all devices", at_least_1)
    bins: int = setting(
        15, "of the calibration error", at_least_1, partial(checks.in_range, 1, 1000)
    )
    save_logits: str = setting(
        "clean",
        "of which test images logits.npz keeps what the model said: none | clean | all views",
        choice(*KEPT),
    )
    attack_examples: int | None = optional(
        1000, "test images, evenly spread; 0: no attack", at_least_0, none=0
    )
    attack_eps: float = setting(
        8 / 255, "l-infinity radius, pixels in [0, 1]", checks.positive, used_if=_ATTACK
    )
    attack_step_size: float = setting(2 / 255, "pixels in [0, 1]", checks.positive, used_if=_ATTACK)
    attack_steps: int = setting(20, "of PGD", at_least_1, used_if=_ATTACK)
    attack_restarts: int = setting(1, "of PGD, the worst is kept", at_least_1, used_if=_ATTACK)
    apgd_steps: int = setting(
        0, "of Auto-PGD (CE and DLR) on the same images; 0: left out", at_least_0
    )
    linearity_examples: int | None = optional(
        1000, "test images, evenly spread; 0: not measured", at_least_0, none=0
    )
    linearity_eps: tuple[float, ...] = setting(
        (2 / 255, 4 / 255, 6 / 255, 8 / 255),
        "radii, pixels in [0, 1]",
        each_positive,
        used_if=_LINEARITY,
    )
    linearity_steps: int = setting(50, "of the search", at_least_1, used_if=_LINEARITY)
    linearity_restarts: int = setting(3, "of the search", at_least_1, used_if=_LINEARITY)
    linearity_relative_step: float = setting(
        0.1, "step size, as a fraction of the radius", checks.positive, used_if=_LINEARITY
    )
