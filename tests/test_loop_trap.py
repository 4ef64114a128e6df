"""No program of ours may take the loop trap: `make_run` of every method, and the loops of the
evaluation, compiled for the CPU, hold convolutions of the canonical form alone inside loops."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import toy
from jax import lax

from varmixup_jax import models
from varmixup_jax.attacks.pgd import linf, pgd
from varmixup_jax.evaluation import programs
from varmixup_jax.losses import cross_entropy
from varmixup_jax.methods import paper_methods
from varmixup_jax.models import conv
from varmixup_jax.training.parallel import distribute

CANONICAL = "b01f_01io->b01f"
LOOPED = re.compile(r"(?:body|condition|to_apply|calls|(?:true|false)_computation)=%?([\w.\-]+)")
SEVERAL = re.compile(r"(?:branch_computations|called_computations|calls)=\{([^}]*)\}")
CONVOLUTION = re.compile(r" convolution\(.*dim_labels=([\w?]+->[\w?]+)")


def computations(text):
    """The compiled program's computations: name -> its lines; and the entry's name."""
    found, entry, lines = {}, None, None
    for line in text.splitlines():
        head = re.match(r"(ENTRY )?%?([\w.\-]+) \(.*\{$", line)
        if head:
            lines = found.setdefault(head[2], [])
            entry = head[2] if head[1] else entry
        elif line.startswith("}"):
            lines = None
        elif lines is not None:
            lines.append(line)
    return found, entry


def called(line):
    """Names of the computations that an instruction runs."""
    names = LOOPED.findall(line)
    for group in SEVERAL.findall(line):
        names += [name.strip().lstrip("%") for name in group.split(",")]
    return names


def convolutions_in_loops(text):
    """The forms of all convolutions that run inside a `while`, at any depth."""
    found, entry = computations(text)
    assert entry is not None
    assert " while(" in text
    forms, seen = [], set()
    waiting = [(entry, False)]
    while waiting:
        name, inside = waiting.pop()
        if (name, inside) in seen:
            continue
        seen.add((name, inside))
        for line in found.get(name, ()):
            hit = CONVOLUTION.search(line)
            if hit and inside:
                forms.append(hit[1])
            loops = " while(" in line or " conditional(" in line
            waiting += [(other, inside or loops) for other in called(line)]
    return forms


def compiled(lowered):
    """The compiled program's text; the machine code itself does not matter here."""
    return lowered.compile({"xla_backend_optimization_level": 0}).as_text()


def compiled_run(method):
    run, state, fixed = toy.make(method, distribute("jit", jax.devices()[:1]))
    order = jnp.asarray(toy.order(2))
    return compiled(run.lower(state, fixed, order, np.int32(2), jax.random.key(0)))


# Networks are run by few of the parts: a decoder, an attack. All methods are slow tests.
QUICKER = ("varmixup", "iat")


@pytest.mark.parametrize(
    "method",
    [
        pytest.param(method, marks=() if method in QUICKER else pytest.mark.slow)
        for method in (*paper_methods(), "noisymix")
    ],
)
def test_training_loop(method):
    forms = convolutions_in_loops(compiled_run(method))
    assert forms
    assert set(forms) == {CANONICAL}


def _logits(variables, image):
    return toy.parts()[1](variables["params"], variables["batch_stats"], image, train=False)[0]


@pytest.mark.parametrize(
    ("program", "settings"),
    [
        (programs.apgd, {"restarts": 1, "losses": ("ce", "dlr")}),
        (programs.linearity, {"restarts": 2, "relative_step": 0.1}),
    ],
    ids=["apgd", "linearity"],
)
def test_evaluation_loop(program, settings):
    _, _, variables, *_, images, labels = toy.parts()
    label = jax.nn.one_hot(labels[:8], toy.CLASSES)
    settings = {
        "logits_fn": _logits,
        "variables": variables,
        "eps": 8 / 255,
        "steps": 2,
        **settings,
    }
    lowered = program.lower(jax.random.key(0), images[:8], label, **settings)
    forms = convolutions_in_loops(compiled(lowered))
    assert forms
    assert set(forms) == {CANONICAL}


def test_gradients_of_a_vae():
    module = models.build_vae((8, 8, 1), latent_size=2, width=2, blocks=1)
    image = jax.ShapeDtypeStruct((32, 8, 8, 1), jnp.float32)
    variables = jax.eval_shape(module.init, jax.random.key(0), image)

    def twice(params, image):
        def moved(_, carry):
            def loss(params, image):
                return jnp.sum(jnp.square(module.apply({"params": params}, image)))

            slopes = jax.grad(loss, argnums=(0, 1))(params, image + carry)
            return sum(jnp.sum(leaf) for leaf in jax.tree.leaves(slopes))

        return lax.fori_loop(0, 2, moved, jnp.float32(0.0))

    forms = convolutions_in_loops(compiled(jax.jit(twice).lower(variables["params"], image)))
    assert forms
    assert set(forms) == {CANONICAL}


def _attack(image, label):
    variables = toy.parts()[2]

    def loss(image):
        return cross_entropy(_logits(variables, image), label)

    return pgd(jax.random.key(0), image, loss, ball=linf(0.03), steps=2, step_size=0.01).image


def test_the_check_sees_the_trap(monkeypatch):
    image, label = jnp.zeros((8, *toy.SHAPE)), jnp.full((8, toy.CLASSES), 1 / toy.CLASSES)
    toy.parts()
    safe = convolutions_in_loops(compiled(jax.jit(_attack).lower(image, label)))
    assert set(safe) == {CANONICAL}
    monkeypatch.setattr(conv.jax, "default_backend", lambda: "gpu")  # the gradients JAX derives
    trapped = compiled(jax.jit(lambda i, y: _attack(i, y)).lower(image, label))
    assert set(convolutions_in_loops(trapped)) - {CANONICAL}


def test_a_convolution_outside_a_loop_is_not_counted():
    def mixed(image, kernel):
        def body(_, total):
            return total + jnp.sum(jnp.sin(image))

        total = lax.fori_loop(0, 3, body, jnp.float32(0.0))
        numbers = ("NCHW", "OIHW", "NCHW")
        out = lax.conv_general_dilated(image, kernel, (1, 1), "SAME", dimension_numbers=numbers)
        return total + jnp.sum(out)

    shapes = jax.ShapeDtypeStruct((2, 3, 4, 4), jnp.float32)
    kernel = jax.ShapeDtypeStruct((5, 3, 3, 3), jnp.float32)
    text = jax.jit(mixed).lower(shapes, kernel).compile().as_text()
    assert "convolution" in text
    assert convolutions_in_loops(text) == []
