"""A training step inside our loop (`make_run`) against the same step called alone.

    python -m benchmarks.loop [--out FILE]

Inside a loop XLA's CPU compiler may not use the fast convolutions (see `varmixup_jax/models/conv.py`),
which makes a step up to 45 times slower; this shows that it does not happen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import jax
import numpy as np

from benchmarks import cases
from benchmarks.report import Report, arguments
from benchmarks.settings import NETS
from benchmarks.timing import Row, alternate, compared
from varmixup_jax.training.step import make_run


def looped(case: cases.Case, method: str, batch: int, steps: int) -> Callable[[], None]:
    """A call that runs `steps` training steps in one program and waits for them."""
    step, state, fixed = cases.step_parts(case, method)
    run = jax.jit(make_run(step), donate_argnums=0)
    order = jax.device_put(cases.batches(case, batch, steps))
    fixed, key, held = jax.device_put(fixed), jax.random.key(cases.KEY), [state]

    def call() -> None:
        held[0], metrics = run(held[0], fixed, order, np.int32(steps), key)
        jax.block_until_ready((held[0], metrics))

    return call


def repeated(call: Callable[[], object], steps: int) -> Callable[[], None]:
    """The same number of steps, one call each."""

    def calls() -> None:
        for _ in range(steps):
            call()

    return calls


def measure(name: str, method: str, steps: int, *, repeats: int, seconds: float) -> Iterator[Row]:
    """One method on one net."""
    case, batch = cases.make_case(NETS[name]), NETS[name].batch
    ours, peer = f"{steps} in the loop", f"{steps} calls"
    call = cases.single_steps(cases.step_parts(case, method), cases.batches(case, batch, 1))
    variants = {
        ours: looped(case, method, batch, steps),
        peer: repeated(call, steps),
    }
    times = alternate(variants, repeats=repeats, seconds=seconds)
    yield compared(f"{name} {method}, batch {batch}", times, ours, peer, goal=1.05)


def main(argv: list[str] | None = None) -> Report:
    """Prints the table."""
    args = arguments(__doc__).parse_args(argv)
    report = Report("loop", args, argv)
    wanted = [("r8", "erm"), ("r8", "varmixup"), ("r8", "manifold_mixup"), ("r18", "erm")]
    for name, method in [("toy", "erm")] if args.small else wanted:
        report.piece(
            f"{name} {method}",
            lambda name=name, method=method: measure(
                name, method, NETS[name].steps, repeats=args.repeats, seconds=args.seconds
            ),
        )
    return report


if __name__ == "__main__":
    main()
