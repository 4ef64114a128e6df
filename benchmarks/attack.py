"""The PGD-10 attack: ours, one `fori_loop`, against PyTorch and against separate gradients.

    python -m benchmarks.attack [--nets r8 r18] [--out FILE]

In all variants the classifier is in evaluation mode and the gradient is with respect to the image
only. "10 gradients" is the jitted gradient of the loss, called ten times from Python: the cost of the
attack without the loop.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import jax
import jax.numpy as jnp

from benchmarks import cases
from benchmarks.report import Report, arguments
from benchmarks.settings import EPS, NETS, PGD_STEP
from benchmarks.timing import Row, alternate, compared
from varmixup_jax.attacks.pgd import linf, pgd
from varmixup_jax.losses import cross_entropy

STEPS = 10


def variants(case: cases.Case, batch: int, steps: int = STEPS) -> dict[str, Callable[[], None]]:
    """Our attack, and its gradients alone."""
    image, label = cases.image_batch(case, batch)
    logits = cases.logits(case)
    key = jax.random.key(0)

    def loss(variables, image, label):
        return cross_entropy(logits(variables, image), label)

    @jax.jit
    def attacked(variables, key, image, label):
        return pgd(
            key,
            image,
            partial(loss, variables, label=label),
            ball=linf(EPS),
            steps=steps,
            step_size=PGD_STEP,
        ).image

    gradient = jax.jit(jax.grad(lambda image, v, y: jnp.sum(loss(v, image, y))))

    def separate() -> None:
        for _ in range(steps):
            jax.block_until_ready(gradient(image, case.variables, label))

    return {
        "ours": lambda: jax.block_until_ready(attacked(case.variables, key, image, label)),
        f"{steps} gradients": separate,
    }


def torch_variant(case: cases.Case, batch: int, device: str = "cpu") -> Callable[[], None]:
    """The same attack in PyTorch, eagerly."""
    import torch

    from benchmarks.torch_peers import Peer, soft_ce, wait

    peer = Peer(case, device=device)
    image, label = peer.batch(torch.arange(batch, device=device))
    return lambda: wait(peer.attacked(image, lambda out: soft_ce(out, label), steps=STEPS))


def measure(
    what: str, case: cases.Case, batch: int, *, repeats: int, seconds: float, goal: float | None
) -> Iterator[Row]:
    """Ours against PyTorch and against separate gradients."""
    calls = variants(case, batch)
    loop, gradients = calls
    calls = {
        loop: calls[loop],
        "torch eager": torch_variant(case, batch),
        gradients: calls[gradients],
    }
    times = alternate(calls, repeats=repeats, seconds=seconds)
    yield compared(what, times, loop, "torch eager", goal=goal)
    yield compared(what, times, loop, gradients)


def main(argv: list[str] | None = None) -> Report:
    """Prints the table."""
    parser = arguments(__doc__)
    parser.add_argument("--nets", nargs="*", default=["r8", "r18"], choices=list(NETS))
    args = parser.parse_args(argv)
    report = Report("attack", args, argv)
    for name in ["toy"] if args.small else args.nets:
        net = NETS[name]
        what = f"{name} PGD-{STEPS}, batch {net.attack_batch}"
        report.piece(
            what,
            lambda what=what, net=net, name=name: measure(
                what,
                cases.make_case(net),
                net.attack_batch,
                repeats=args.repeats,
                seconds=args.seconds,
                goal=1.35 if name == "r8" else None,
            ),
        )
    return report


if __name__ == "__main__":
    main()
