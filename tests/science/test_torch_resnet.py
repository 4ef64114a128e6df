"""ResNet-18 with copied weights against PyTorch's layers; `test_resnet.py` has NumPy's loops."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from varmixup_jax import models

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)


def test_resnet18_forward_and_running_statistics():
    torch = pytest.importorskip("torch", reason="PyTorch is an optional oracle")
    from benchmarks import settings, torch_nets

    module = models.build_classifier("resnet18", num_classes=10, mean=MEAN, std=STD, width=4)
    image = np.random.default_rng(0).uniform(size=(6, 16, 16, 3)).astype(np.float32)
    rng = np.random.default_rng(1)
    fresh = models.init(jax.random.key(0), module, jax.ShapeDtypeStruct(image.shape, jnp.float32))
    variables = jax.tree.map(
        lambda leaf: (leaf + rng.uniform(0.02, 0.2, leaf.shape)).astype(np.float32), fresh
    )
    theirs = torch_nets.ResNet((2, 2, 2, 2), 4)
    torch_nets.load(theirs, variables["params"], variables["batch_stats"])
    # Their constants are the benchmarks'; the pixels are moved so that both normalise to the same.
    pixels = (image - np.float32(MEAN)) / np.float32(STD)
    pixels = pixels * np.float32(settings.STD) + np.float32(settings.MEAN)
    pixels = torch.tensor(pixels.transpose(0, 3, 1, 2))

    out = jax.jit(module.apply)(variables, image)
    expected = theirs.eval()(pixels).detach().numpy()
    np.testing.assert_allclose(out, expected, rtol=1e-3, atol=1e-3 * np.abs(expected).max())

    train = jax.jit(lambda v, x: module.apply(v, x, train=True, mutable=["batch_stats"]))
    out, changed = train(variables, image)
    expected = theirs.train()(pixels).detach().numpy()
    np.testing.assert_allclose(out, expected, rtol=1e-3, atol=1e-3)
    found = dict(theirs.named_buffers())
    for path, leaf in jax.tree_util.tree_leaves_with_path(changed["batch_stats"]):
        *names, kind = (entry.key for entry in path)
        name = {"mean": "running_mean", "var": "running_var"}[kind]
        new = found[".".join([*names, name])].numpy()
        if kind == "var":  # theirs is of the unbiased variance
            before = np.asarray(_at(variables["batch_stats"], path))
            stage = names[0]
            side = 16 >> max(int(stage[5]) - 1, 0) if stage.startswith("stage") else 16
            count = 6 * side * side
            new = 0.9 * before + (new - 0.9 * before) * (count - 1) / count
        np.testing.assert_allclose(leaf, new, rtol=1e-3, atol=1e-4, err_msg=str(names))


def _at(tree, path):
    for entry in path:
        tree = tree[entry.key]
    return tree
