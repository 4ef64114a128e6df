"""Settings common to us and the peers. Imports neither JAX nor PyTorch: child processes use either."""

from __future__ import annotations

from typing import NamedTuple

CLASSES = 10
MEAN, STD = (0.49, 0.48, 0.45), (0.25, 0.24, 0.26)
LEARNING_RATE, MOMENTUM, WEIGHT_DECAY = 0.01, 0.9, 5e-4
GAMMA = 0.01
EPS, PGD_STEP, TRADES_STEP, BETA = 8 / 255, 2 / 255, 0.007, 6.0
ATTACKS = ("at", "trades", "iat")


class Net(NamedTuple):
    """A network as benchmarks run it.

    Attributes:
      classifier, width, blocks: of the network.
      size: pixels per side.
      batch, attack_batch: examples per step, for methods without and with attacks.
      vae_widths: of the VAEs that VarMixup runs with; the first serves the other methods too.
      steps: how many in one program, as training on a CPU runs them; with an attack 1.
      goal: of an ERM step against PyTorch eager.
      against_erm: method -> goal of its step against our own ERM step, with the first VAE.
    """

    classifier: str
    width: int
    blocks: tuple[int, ...]
    size: int
    batch: int
    attack_batch: int
    vae_widths: tuple[int, ...]
    steps: int
    goal: float | None = None
    against_erm: tuple[tuple[str, float], ...] = ()


NETS = {
    "r8": Net(
        "resnet8",
        16,
        (1, 1, 1),
        32,
        128,
        128,
        (8, 32),
        8,
        1.35,
        (("mixup", 1.05), ("varmixup", 1.25)),
    ),
    "r18": Net("resnet18", 64, (2, 2, 2, 2), 32, 64, 16, (32,), 2, 1.35),
    "toy": Net("resnet8", 4, (1, 1, 1), 8, 16, 16, (4,), 2),
}
