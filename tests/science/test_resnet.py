"""Residual networks of two stages against loops of NumPy in float64, written from the papers."""

import itertools

import jax
import numpy as np
import pytest

from varmixup_jax import models
from varmixup_jax.models.resnet import ResNet

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)
IMAGE = np.random.default_rng(0).uniform(size=(2, 8, 8, 3)).astype(np.float32)
EPSILON, MOMENTUM = 1e-5, 0.1  # as in PyTorch: of the new value


def relu(x):
    return np.maximum(x, 0.0)


def convolution(x, kernel, stride):
    """Cross-correlation with zeros around the image, `out[y, x] = sum image[sy + i - p, ...]`."""
    size = kernel.shape[0]
    pad = size // 2
    padded = np.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    rows = (x.shape[1] + 2 * pad - size) // stride + 1
    out = np.zeros((x.shape[0], rows, rows, kernel.shape[3]))
    for row, column in itertools.product(range(rows), repeat=2):
        top, left = stride * row, stride * column
        window = padded[:, top : top + size, left : left + size]
        out[:, row, column] = np.einsum("bijc,ijco->bo", window, kernel)
    return out


class Reference:
    """The forward pass; in training it also collects the new running statistics."""

    def __init__(self, variables, *, train):
        wide = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), variables)
        self.params, self.stats, self.train = wide["params"], wide["batch_stats"], train

    def norm(self, x, *path):
        params, stats = self.params, self.stats
        for name in path:
            params, stats = params[name], stats[name]
        mean, var = stats["mean"], stats["var"]
        if self.train:
            mean, var = x.mean(axis=(0, 1, 2)), x.var(axis=(0, 1, 2))
            for name, new in (("mean", mean), ("var", var)):
                stats[name] = (1 - MOMENTUM) * stats[name] + MOMENTUM * new
        return (x - mean) / np.sqrt(var + EPSILON) * params["scale"] + params["bias"]

    def post_activation(self, h, name, stride):
        kernels = self.params[name]
        out = relu(self.norm(convolution(h, kernels["conv1"]["kernel"], stride), name, "norm1"))
        out = self.norm(convolution(out, kernels["conv2"]["kernel"], 1), name, "norm2")
        if stride > 1 or h.shape[-1] != out.shape[-1]:
            h = convolution(h, kernels["shortcut"]["kernel"], stride)
            h = self.norm(h, name, "shortcut_norm")
        return relu(h + out)

    def pre_activation(self, h, name, stride):
        kernels = self.params[name]
        active = relu(self.norm(h, name, "norm1"))
        out = convolution(active, kernels["conv1"]["kernel"], stride)
        out = convolution(relu(self.norm(out, name, "norm2")), kernels["conv2"]["kernel"], 1)
        if stride > 1 or h.shape[-1] != out.shape[-1]:
            h = convolution(active, kernels["shortcut"]["kernel"], stride)
        return h + out

    def logits(self, image, *, preactivation):
        h = (image.astype(np.float64) - MEAN) / STD
        h = convolution(h, self.params["stem"]["kernel"], 1)
        if not preactivation:
            h = relu(self.norm(h, "stem_norm"))
        block = self.pre_activation if preactivation else self.post_activation
        for name, stride in (("stage1_block1", 1), ("stage2_block1", 2), ("stage2_block2", 1)):
            h = block(h, name, stride)
        if preactivation:
            h = relu(self.norm(h, "final_norm"))
        return h.mean(axis=(1, 2)) @ self.params["head"]["kernel"] + self.params["head"]["bias"]


@pytest.mark.parametrize("preactivation", [False, True])
def test_logits_and_running_statistics(preactivation):
    module = ResNet(
        num_classes=4,
        mean=MEAN,
        std=STD,
        blocks=(1, 2),
        width=3,
        preactivation=preactivation,
        final_norm=preactivation,
    )
    rng = np.random.default_rng(1)
    fresh = models.init(jax.random.key(0), module, IMAGE)
    # No parameter at a value that hides it, such as a scale of 1 or a bias of 0.
    variables = jax.tree.map(
        lambda leaf: (leaf + rng.uniform(0.1, 0.5, leaf.shape)).astype(np.float32), fresh
    )
    evaluate, train = (
        jax.jit(lambda v, x, t=t: module.apply(v, x, train=t, mutable=["batch_stats"] if t else []))
        for t in (False, True)
    )
    expected = Reference(variables, train=False).logits(IMAGE, preactivation=preactivation)
    np.testing.assert_allclose(evaluate(variables, IMAGE)[0], expected, rtol=1e-4, atol=1e-4)

    reference = Reference(variables, train=True)
    expected = reference.logits(IMAGE, preactivation=preactivation)
    logits, changes = train(variables, IMAGE)
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-4)
    jax.tree.map(
        lambda ours, theirs: np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5),
        changes["batch_stats"],
        reference.stats,
    )
