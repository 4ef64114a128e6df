"""The peers: one training step of each method, PGD and the MMD-VAE in PyTorch.

Written as by a careful PyTorch user: channels last, images on the device, gradients only with respect
to the image in attacks, only the drawn stage mixed by Manifold Mixup.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.cases import Case
from benchmarks.settings import (
    BETA,
    CLASSES,
    EPS,
    GAMMA,
    LEARNING_RATE,
    MOMENTUM,
    PGD_STEP,
    TRADES_STEP,
    WEIGHT_DECAY,
)
from benchmarks.torch_nets import VAE, nets

Logits = Callable[[Tensor], Tensor]
Distance = Callable[[Tensor], Tensor]


def soft_ce(logits: Tensor, label: Tensor) -> Tensor:
    """Mean cross-entropy with probability rows."""
    return F.cross_entropy(logits.float(), label)


def pgd(
    model: Logits,
    image: Tensor,
    distance: Distance,
    *,
    steps: int = 10,
    step_size: float = PGD_STEP,
    sigma: float | None = None,
) -> Tensor:
    """Projected sign-gradient ascent in the l-infinity ball; normal start with `sigma`, else uniform."""
    if sigma is None:
        start = torch.empty_like(image).uniform_(-EPS, EPS)
    else:
        start = sigma * torch.randn_like(image)
    point = (image + start.clamp(-EPS, EPS)).clamp(0, 1)
    for _ in range(steps):
        point = point.detach().requires_grad_(True)
        (slope,) = torch.autograd.grad(distance(model(point)), point)
        with torch.no_grad():
            delta = (point + step_size * slope.sign() - image).clamp(-EPS, EPS)
            point = (image + delta).clamp(0, 1)
    return point.detach()


class Peer:
    """A classifier in PyTorch with its data on the device: one step of any method.

    Args:
      case: ours; networks, parameters and data are the same.
      device: "cpu" or "cuda".
      compiled: run the networks through `torch.compile`.
      bf16: autocast to bfloat16.
    """

    def __init__(
        self, case: Case, *, device: str = "cpu", compiled: bool = False, bf16: bool = False
    ) -> None:
        model, vae = nets(case, device)
        self.model: nn.Module = torch.compile(model) if compiled else model
        self.decoder = torch.compile(vae.decoder) if compiled else vae.decoder
        self.images = torch.tensor(case.images, device=device)
        self.labels = torch.tensor(case.labels, device=device, dtype=torch.long)
        # An NHWC array viewed as NCHW is channels last.
        self.latents = torch.tensor(case.latents, device=device).permute(0, 3, 1, 2)
        self.optimizer = torch.optim.SGD(
            model.parameters(), LEARNING_RATE, MOMENTUM, weight_decay=WEIGHT_DECAY
        )
        self.rng = np.random.default_rng(0)
        self.cast = (
            (lambda: torch.autocast(device, torch.bfloat16)) if bf16 else contextlib.nullcontext
        )

    def batch(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """float32 `[B, 3, H, W]` in [0, 1] and one-hot labels."""
        image = (self.images[index].float() / 255).permute(0, 3, 1, 2)
        return image, F.one_hot(self.labels[index], CLASSES).float()

    def pair(self, size: int, alpha: float) -> tuple[Tensor, Tensor]:
        """Partners and one lambda."""
        device = self.images.device
        lam = torch.tensor(self.rng.beta(alpha, alpha), dtype=torch.float32, device=device)
        return torch.randperm(size, device=device), lam

    def attacked(self, image: Tensor, distance: Distance, **settings: float) -> Tensor:
        """PGD against the model in evaluation mode."""
        self.model.eval()
        found = pgd(self.model, image, distance, **settings)
        self.model.train()
        return found

    def loss(self, method: str, image: Tensor, label: Tensor, index: Tensor) -> Tensor:
        """The objective of a method on one batch."""
        model = self.model
        partners, lam = self.pair(len(label), 2.0 if method == "manifold_mixup" else 1.0)

        def mixed(points: Tensor) -> Tensor:
            return lam * points + (1 - lam) * points[partners]

        if method == "erm":
            return soft_ce(model(image), label)
        if method == "mixup":
            return soft_ce(model(mixed(image)), mixed(label))
        if method == "manifold_mixup":
            stage = int(self.rng.integers(3))
            return soft_ce(model(image, (stage, partners, lam)), mixed(label))
        if method in ("varmixup", "adv_varmixup"):
            with torch.no_grad():
                image = self.decoder(mixed(self.latents[index]))
            return soft_ce(model(image), mixed(label))
        if method == "mixup_r":
            with torch.no_grad():
                image = mixed(self.decoder(self.latents[index]))
            return soft_ce(model(image), mixed(label))
        if method == "at":
            found = self.attacked(image, lambda out: soft_ce(out, label))
            return soft_ce(model(found), label)
        if method == "iat":
            found = self.attacked(image, lambda out: soft_ce(out, label), steps=7)
            risks = (soft_ce(model(mixed(x)), mixed(label)) for x in (image, found))
            return 0.5 * sum(risks)
        if method == "trades":
            return self._trades(image, label)
        raise ValueError(f"method = {method!r}: has no peer")

    def _trades(self, image: Tensor, label: Tensor) -> Tensor:
        self.model.eval()
        with torch.no_grad():
            clean = F.log_softmax(self.model(image).float(), dim=1)
        found = self.attacked(image, lambda out: kl(clean, out), step_size=TRADES_STEP, sigma=0.001)
        logits = self.model(image)
        return soft_ce(logits, label) + BETA * kl(
            F.log_softmax(logits.float(), dim=1), self.model(found)
        )

    def step(self, method: str, index: Tensor) -> Tensor:
        """One training step; returns the loss without waiting for it."""
        self.model.train()
        with self.cast():
            loss = self.loss(method, *self.batch(index), index)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        return loss

    def steps(self, method: str, order: np.ndarray) -> Callable[[], None]:
        """A call that trains one step and waits for it."""
        index = torch.tensor(order[0], device=self.images.device, dtype=torch.long)
        return lambda: wait(self.step(method, index))


def kl(clean: Tensor, logits: Tensor) -> Tensor:
    """Mean KL(clean || logits); `clean` are log-probabilities."""
    other = F.log_softmax(logits.float(), dim=1)
    return F.kl_div(other, clean, reduction="batchmean", log_target=True)


def wait(result: Tensor) -> None:
    """Waits for the device."""
    if result.device.type == "cuda":
        torch.cuda.synchronize()


def squared_distances(a: Tensor, b: Tensor, form: str) -> Tensor:
    """`[N, M]` by the "dot" form or through the "broadcast" `[N, M, d]` difference."""
    if form == "broadcast":
        return (a[:, None] - b[None]).square().sum(-1)
    product = a @ b.T
    return (a.square().sum(1)[:, None] + b.square().sum(1)[None] - 2 * product).clamp_min(0)


def mmd(a: Tensor, b: Tensor, form: str = "dot") -> Tensor:
    """The unbiased estimate with the rbf kernel of s^2 = d."""
    size, dim = a.shape
    kaa, kbb, kab = (
        torch.exp(-squared_distances(x, y, form) / (2 * dim)) for x, y in ((a, a), (b, b), (a, b))
    )
    within = sum((k.sum() - k.trace()) / (size * (size - 1)) for k in (kaa, kbb))
    return within - 2 * kab.mean()


class VAEPeer:
    """The MMD-VAE in PyTorch: one training step, and decoding."""

    def __init__(self, case: Case, *, device: str = "cpu", compiled: bool = False) -> None:
        vae: VAE = nets(case, device)[1]
        self.encoder = torch.compile(vae.encoder) if compiled else vae.encoder
        self.decoder = torch.compile(vae.decoder) if compiled else vae.decoder
        self.images = torch.tensor(case.images, device=device)
        self.latents = torch.tensor(case.latents, device=device).permute(0, 3, 1, 2)
        self.optimizer = torch.optim.SGD(
            vae.parameters(), LEARNING_RATE, MOMENTUM, weight_decay=WEIGHT_DECAY
        )

    def step(self, index: Tensor) -> Tensor:
        """One step on the mean squared error plus gamma MMD^2 against fresh normal samples."""
        image = (self.images[index].float() / 255).permute(0, 3, 1, 2)
        mean, log_std = self.encoder(image)
        latent = mean + log_std.exp() * torch.randn_like(mean)
        error = F.mse_loss(self.decoder(latent), image)
        points = latent.flatten(1)
        loss = error + GAMMA * mmd(points, torch.randn_like(points))
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        return loss

    def steps(self, order: np.ndarray) -> Callable[[], None]:
        """A call that trains one step and waits for it."""
        index = torch.tensor(order[0], device=self.images.device, dtype=torch.long)
        return lambda: wait(self.step(index))

    def decodes(self, batch: int) -> Callable[[], None]:
        """A call that decodes one batch without gradients and waits for it."""
        latent = self.latents[:batch]

        def call() -> None:
            with torch.no_grad():
                wait(self.decoder(latent))

        return call
