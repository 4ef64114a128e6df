"""Initialisation that only draws the parameters, and neither compiles nor runs the network."""

from __future__ import annotations

import functools
from typing import Any

import flax.linen as nn
import jax
from jax.extend import core as jex_core

from varmixup_jax.types import Key, PyTree


def init(key: Key, module: nn.Module, *args: Any, **kwargs: Any) -> PyTree:
    """Returns the variables of `module.init(key, *args, **kwargs)`, without the forward pass.

    Run eagerly, `module.init` also computes (and compiles, shape by shape) the forward pass; under
    `jit` all random draws of all layers are compiled into one program, which takes more than ten
    seconds for a ResNet-18. Here `module.init` is traced, every equation that no variable depends on
    is dropped, and the rest (the modules' own initialisers, with the keys that Flax gave them) is
    evaluated draw by draw, so that each distinct shape compiles once. The numbers are those of
    `module.init`: no initialiser is guessed, and the number of devices does not matter.

    Args:
      key: a typed key; it becomes the `params` stream.
      module: a Linen module.
      *args: inputs of the module, as arrays or `jax.ShapeDtypeStruct`; only shape and dtype matter.
      **kwargs: static (not traced) keyword arguments of the module's call, including `method`.

    Returns:
      The variables: a dict of collections of arrays on the default device.

    Raises:
      ValueError: if a variable's initial value depends on the values of `args`.

    >>> import jax.numpy as jnp
    >>> variables = init(jax.random.key(0), nn.Dense(2), jax.ShapeDtypeStruct((1, 3), jnp.float32))
    >>> jax.tree.map(jnp.shape, variables)
    {'params': {'bias': (2,), 'kernel': (3, 2)}}
    """
    shapes = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype), args)
    run = functools.partial(module.init, **kwargs)
    closed, out_shape = jax.make_jaxpr(run, return_shape=True)(key, *shapes)
    jaxpr = closed.jaxpr
    equations, needed = _live(jaxpr)
    if any(variable in needed for variable in jaxpr.invars[1:]):
        name = type(module).__name__
        raise ValueError(f"module = {name}: its variables must not depend on the values of args")
    draws = jex_core.ClosedJaxpr(
        jaxpr.replace(eqns=equations, invars=jaxpr.invars[:1]),
        closed.consts,
    )
    return jax.tree.unflatten(jax.tree.structure(out_shape), jex_core.jaxpr_as_fun(draws)(key))


def _live(jaxpr: jex_core.Jaxpr) -> tuple[list[jex_core.JaxprEqn], set[jex_core.Var]]:
    """The equations that the outputs depend on, in order, and every variable these read."""
    needed = {v for v in jaxpr.outvars if not isinstance(v, jex_core.Literal)}
    equations = []
    for equation in reversed(jaxpr.eqns):
        if needed.isdisjoint(equation.outvars):
            continue
        equations.append(equation)
        needed.update(v for v in equation.invars if not isinstance(v, jex_core.Literal))
    return equations[::-1], needed
