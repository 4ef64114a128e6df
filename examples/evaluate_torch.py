"""Evaluates a PyTorch model, trained in any way, with this package: `python evaluate_torch.py`.

Needs PyTorch; takes half a minute on a CPU.
"""

import numpy as np
import torch
from sklearn.datasets import load_digits

import varmixup_jax as vj

EPOCHS = 20


def split():
    """Digits in PyTorch's layout, `[N, C, H, W]` in [0, 1]; the last quarter is the test set."""
    digits = load_digits()
    images = (digits.images[:, None] / 16).astype(np.float32)
    first = 3 * len(images) // 4
    return (images[:first], digits.target[:first]), (images[first:], digits.target[first:])


def train(images: np.ndarray, labels: np.ndarray) -> torch.nn.Module:
    """A small convolutional network."""
    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Conv2d(1, 16, 3, padding=1),
        torch.nn.BatchNorm2d(16),
        torch.nn.ReLU(),
        torch.nn.Flatten(),
        torch.nn.Linear(16 * 64, 10),
    )
    optimiser = torch.optim.Adam(net.parameters(), 1e-3)
    x, y = torch.from_numpy(images), torch.from_numpy(labels)
    for _ in range(EPOCHS):
        for batch in torch.randperm(len(x)).split(64):
            optimiser.zero_grad()
            torch.nn.functional.cross_entropy(net(x[batch]), y[batch]).backward()
            optimiser.step()
    return net.eval()  # a module in training mode is refused


def main(out: str = "runs/torch", corruptions: str | list[str] = "computed") -> vj.Results:
    """Trains, evaluates and saves; `python -m varmixup_jax.report runs` compares it with other runs."""
    (x, y), (x_test, y_test) = split()
    held_out = len(x) - 200  # for the temperature: used neither for training nor for testing
    net = train(x[:held_out], y[:held_out])
    results = vj.evaluate(
        net,
        x_test,
        y_test,
        layout="NCHW",
        validation=(x[held_out:], y[held_out:]),
        corruptions=corruptions,
        name="torch_net",
        dataset="digits_quarter",
    )
    results.save(out)
    return results


if __name__ == "__main__":
    print(main())
