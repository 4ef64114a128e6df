"""A process that trains a few ERM steps in PyTorch without JAX. Started by other benchmarks."""

from __future__ import annotations

import argparse
import json
import resource

import torch
import torch.nn.functional as F

from benchmarks.settings import LEARNING_RATE, MOMENTUM, NETS, WEIGHT_DECAY
from benchmarks.torch_nets import ResNet


def main() -> None:
    """Prints `peak`, MiB: the accelerator's, or the resident set of this process on a CPU."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("net", choices=list(NETS))
    parser.add_argument("--steps", type=int, default=1)
    args = parser.parse_args()
    net = NETS[args.net]
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = ResNet(net.blocks, net.width).to(device, memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(
        model.parameters(), LEARNING_RATE, MOMENTUM, weight_decay=WEIGHT_DECAY
    )
    image = torch.rand(net.batch, net.size, net.size, 3, device=device).permute(0, 3, 1, 2)
    label = torch.zeros(net.batch, dtype=torch.long, device=device)
    for _ in range(args.steps):
        loss = F.cross_entropy(model(image), label)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
    float(loss.detach())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    if device == "cuda":
        peak = torch.cuda.max_memory_allocated() / 2**20
    print(json.dumps({"peak": peak}))


if __name__ == "__main__":
    main()
