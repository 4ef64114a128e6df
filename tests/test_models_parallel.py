"""The hand-written gradients under the three ways to spread a batch over devices."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from varmixup_jax.models.conv import Conv
from varmixup_jax.models.group_norm import GroupNormSilu
from varmixup_jax.models.norm import BatchNorm

SHARDS = 2
IMAGE = np.random.default_rng(0).normal(size=(2 * SHARDS * 17, 4, 4, 2)).astype(np.float32)


def _loss(variables, image, axis=None):
    hidden = Conv(3, (3, 3)).apply(variables["conv"], image)
    norm = BatchNorm(use_running_average=False)
    out, _ = norm.apply(variables["norm"], hidden, mutable=["batch_stats"])
    out = GroupNormSilu(3).apply({"params": variables["norm"]["params"]}, out)
    loss = jnp.mean(jnp.sin(out))
    return jax.lax.pmean(loss, axis) if axis else loss


@pytest.fixture(scope="module")
def variables():
    rng = np.random.default_rng(1)
    kernel = rng.normal(size=(3, 3, 2, 3)).astype(np.float32)
    leaves = {"scale": np.float32([1, 2, 3]), "bias": np.float32([0, 1, -1])}
    stats = {"mean": np.zeros(3, np.float32), "var": np.ones(3, np.float32)}
    conv = {"params": {"kernel": kernel, "bias": leaves["bias"]}}
    return {"conv": conv, "norm": {"params": leaves, "batch_stats": stats}}


def _assert_close(tree, expected):
    for a, b in zip(jax.tree.leaves(tree), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def test_sharded_jit_is_one_device(variables):
    gradient = jax.jit(jax.grad(_loss))
    mesh = jax.make_mesh((SHARDS,), ("data",), axis_types=(AxisType.Auto,))
    spread = jax.device_put(IMAGE, NamedSharding(mesh, P("data")))
    copies = jax.device_put(variables, NamedSharding(mesh, P()))
    _assert_close(gradient(copies, spread), gradient(variables, IMAGE))


@pytest.mark.parametrize("via", ["pmap", "shard_map"])
def test_mapped_gradients_average_those_of_the_shards(via, variables):
    gradient = jax.jit(jax.grad(_loss))
    shards = IMAGE.reshape(SHARDS, -1, *IMAGE.shape[1:])
    parts = [gradient(variables, shard) for shard in shards]
    expected = jax.tree.map(lambda *leaves: sum(leaves) / SHARDS, *parts)

    def mapped(variables, image):
        return jax.lax.pmean(
            jax.grad(functools.partial(_loss, axis="data"))(variables, image), "data"
        )

    if via == "pmap":
        run = jax.pmap(mapped, axis_name="data", in_axes=(None, 0), devices=jax.devices()[:SHARDS])
        found = jax.tree.map(lambda leaf: leaf[0], run(variables, shards))
    else:
        mesh = jax.make_mesh((SHARDS,), ("data",), axis_types=(AxisType.Auto,))
        specs = {"in_specs": (P(), P("data")), "out_specs": P()}
        found = jax.jit(jax.shard_map(mapped, mesh=mesh, **specs))(variables, IMAGE)
    _assert_close(found, expected)
