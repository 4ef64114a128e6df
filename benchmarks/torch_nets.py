"""The same networks in PyTorch: layer for layer, with the names of our parameters."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.settings import CLASSES, MEAN, STD

if TYPE_CHECKING:
    from benchmarks.cases import Case

LOG_STD = (-6.0, 2.0)


def _conv(inputs: int, outputs: int, size: int = 3, stride: int = 1, bias: bool = False):
    return nn.Conv2d(inputs, outputs, size, stride, (size - 1) // 2, bias=bias)


class Block(nn.Module):
    """Two 3x3 convolutions with BatchNorm around a shortcut (post-activation)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = _conv(inputs, outputs, 3, stride)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.conv2 = _conv(outputs, outputs)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.changes = stride != 1 or inputs != outputs
        if self.changes:
            self.shortcut = _conv(inputs, outputs, 1, stride)
            self.shortcut_norm = nn.BatchNorm2d(outputs)

    def forward(self, hidden: Tensor) -> Tensor:
        out = F.relu(self.norm1(self.conv1(hidden)))
        out = self.norm2(self.conv2(out))
        if self.changes:
            hidden = self.shortcut_norm(self.shortcut(hidden))
        return F.relu(out + hidden)


class ResNet(nn.Module):
    """The post-activation network; `mix` is (stage, partners, lambda) of Manifold Mixup."""

    def __init__(self, blocks: tuple[int, ...], width: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(STD).view(1, 3, 1, 1), persistent=False)
        self.stem, self.stem_norm = _conv(3, width), nn.BatchNorm2d(width)
        self.stages, inputs = [], width
        for stage, count in enumerate(blocks, start=1):
            names = []
            for index in range(count):
                outputs = width * 2 ** (stage - 1)
                stride = 2 if stage > 1 and index == 0 else 1
                names.append(f"stage{stage}_block{index + 1}")
                setattr(self, names[-1], Block(inputs, outputs, stride))
                inputs = outputs
            self.stages.append(names)
        self.head = nn.Linear(inputs, CLASSES)

    def forward(self, image: Tensor, mix: tuple[int, Tensor, Tensor] | None = None) -> Tensor:
        hidden = _mixed(image, mix, 0)
        hidden = F.relu(self.stem_norm(self.stem((hidden - self.mean) / self.std)))
        for stage, names in enumerate(self.stages, start=1):
            for name in names:
                hidden = getattr(self, name)(hidden)
            hidden = _mixed(hidden, mix, stage)
        return self.head(hidden.float().mean(dim=(2, 3)))


def _mixed(hidden: Tensor, mix: tuple[int, Tensor, Tensor] | None, stage: int) -> Tensor:
    if mix is None or mix[0] != stage:
        return hidden
    _, partners, lam = mix
    return lam * hidden + (1 - lam) * hidden[partners]


class Residual(nn.Module):
    """GroupNorm, SiLU and a 3x3 convolution, twice, around the identity."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1, self.conv1 = _group_norm(width), _conv(width, width, bias=True)
        self.norm2, self.conv2 = _group_norm(width), _conv(width, width, bias=True)

    def forward(self, hidden: Tensor) -> Tensor:
        out = self.conv1(F.silu(self.norm1(hidden)))
        return hidden + self.conv2(F.silu(self.norm2(out)))


def _group_norm(width: int) -> nn.GroupNorm:
    return nn.GroupNorm(math.gcd(8, width), width, eps=1e-6)


class Encoder(nn.Module):
    """`[B, 3, H, W]` to `[B, 2 latent_size, h, w]`."""

    def __init__(self, widths: list[int], blocks: int, latent_size: int) -> None:
        super().__init__()
        self.stem = _conv(3, widths[0], bias=True)
        self.order = []
        for level, width in enumerate(widths[1:], start=1):
            self._add(f"down{level}", _conv(widths[level - 1], width, 3, 2, bias=True))
            for index in range(blocks):
                self._add(f"level{level}_block{index + 1}", Residual(width))
        self.norm = _group_norm(widths[-1])
        self.out = _conv(widths[-1], 2 * latent_size, bias=True)

    def _add(self, name: str, module: nn.Module) -> None:
        setattr(self, name, module)
        self.order.append(name)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        hidden = self.stem(2 * image - 1)
        for name in self.order:
            hidden = getattr(self, name)(hidden)
        mean, raw = self.out(F.silu(self.norm(hidden))).float().chunk(2, dim=1)
        centre, reach = sum(LOG_STD) / 2, (LOG_STD[1] - LOG_STD[0]) / 2
        return mean, centre + reach * torch.tanh((raw - centre) / reach)


class Decoder(nn.Module):
    """`[B, latent_size, h, w]` to `[B, 3, H, W]` in [0, 1]."""

    def __init__(self, widths: list[int], blocks: int, latent_size: int) -> None:
        super().__init__()
        self.stem = _conv(latent_size, widths[-1], bias=True)
        self.order = []
        for level in range(len(widths) - 1, 0, -1):
            for index in range(blocks):
                self._add(f"level{level}_block{index + 1}", Residual(widths[level]))
            self._add(f"up{level}", _conv(widths[level], 4 * widths[level - 1], bias=True))
        self.norm = _group_norm(widths[0])
        self.out = _conv(widths[0], 3, bias=True)

    _add = Encoder._add

    def forward(self, latent: Tensor) -> Tensor:
        hidden = self.stem(latent)
        for name in self.order:
            hidden = getattr(self, name)(hidden)
            if name.startswith("up"):
                hidden = F.pixel_shuffle(hidden, 2)
        return torch.sigmoid(self.out(F.silu(self.norm(hidden))).float())


class VAE(nn.Module):
    """The MMD-VAE with a spatial latent."""

    def __init__(self, width: int, blocks: int, latent_size: int, downsample: int) -> None:
        super().__init__()
        widths = [width * 2**level for level in range(downsample.bit_length())]
        self.encoder = Encoder(widths, blocks, latent_size)
        self.decoder = Decoder(widths, blocks, latent_size)


def nets(case: Case, device: str = "cpu") -> tuple[ResNet, VAE]:
    """Both networks of a case with the same parameters, channels last."""
    classifier = ResNet(case.module.blocks, case.module.width)
    vae = VAE(case.vae_width, case.vae_blocks, case.latent_size, case.vae_module.downsample)
    load(classifier, case.variables["params"], case.variables["batch_stats"])
    load(vae, case.vae_params, {})
    return tuple(m.to(device, memory_format=torch.channels_last) for m in (classifier, vae))


def load(module: nn.Module, params: Mapping[str, Any], stats: Mapping[str, Any]) -> None:
    """Copies Flax parameters and statistics into a module whose children have the same names.

    Raises:
      ValueError: a parameter without a counterpart on either side.
    """
    loaded = {}
    for path, value in [*_flat(params), *_flat(stats)]:
        *names, leaf = path
        name = {"kernel": "weight", "scale": "weight", "mean": "running_mean", "var": "running_var"}
        value = np.asarray(value)
        if leaf == "kernel":
            value = value.transpose(3, 2, 0, 1) if value.ndim == 4 else value.T
        if names[-1].startswith(
            "up"
        ):  # our channels are (row, column, c), PyTorch's (c, row, column)
            value = value.reshape(2, 2, -1, *value.shape[1:])
            value = np.moveaxis(value, 2, 0).reshape(-1, *value.shape[3:])
        loaded[".".join([*names, name.get(leaf, leaf)])] = torch.tensor(value)
    found = module.load_state_dict(loaded, strict=False)
    missing = [name for name in found.missing_keys if not name.endswith("num_batches_tracked")]
    if missing or found.unexpected_keys:
        raise ValueError(f"params: missing {missing}, unexpected {found.unexpected_keys}")


def _flat(tree: Mapping[str, Any], path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], Any]]:
    leaves = []
    for name, value in tree.items():
        if isinstance(value, Mapping):
            leaves += _flat(value, (*path, name))
        else:
            leaves.append(((*path, name), value))
    return leaves
