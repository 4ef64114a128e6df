"""The same training over 1, 2, 4 and 8 devices: the same numbers, and what spreading costs.

    python -m benchmarks.scaling [--counts 1 2 4 8] [--via jit pmap] [--out FILE]

The global batch stays the same. On a CPU the devices are virtual and share the cores, so the best
possible ratio to a single device is 1, and anything above is overhead. On several real devices ratios
fall. Under jit the losses of the first steps must agree with the single device's; pmap has BatchNorm
statistics and pairs per device, so its losses differ by design.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence

import jax
import numpy as np

from benchmarks import cases
from benchmarks.report import Report, arguments
from benchmarks.settings import NETS, Net
from benchmarks.timing import Row, alternate, compared, figures
from varmixup_jax.methods import METHODS
from varmixup_jax.training.parallel import distribute
from varmixup_jax.training.step import make_run

STEPS = 3
ALLOWED = 1e-4  # relative difference of the loss


def spread(count: int, via: str, method: str, net: Net) -> Callable[[], np.ndarray]:
    """A call that trains STEPS steps over `count` devices and returns their losses."""
    case = cases.make_case(net)
    mapping = distribute(via, jax.devices()[:count])
    step, state, fixed = cases.step_parts(case, method, axis_name=mapping.axis_name)
    run = mapping.compile(make_run(step))
    held, fixed = [mapping.replicate(state)], mapping.replicate(fixed)
    order = mapping.shard_order(cases.batches(case, net.batch, STEPS))

    def call() -> np.ndarray:
        held[0], metrics = run(held[0], fixed, order, np.int32(STEPS), jax.random.key(0))
        return np.asarray(metrics["loss"])

    return call


def measure(
    counts: Sequence[int], via: str, method: str, net: Net, *, repeats: int, seconds: float
) -> Iterator[Row]:
    """Time of each device count against one device, and the difference of their first losses."""
    calls = {count: spread(count, via, method, net) for count in counts}
    losses = {count: call() for count, call in calls.items()}
    name = {count: f"{count} device{'s' if count > 1 else ''}" for count in counts}
    times = alternate(
        {name[c]: call for c, call in calls.items()}, repeats=repeats, seconds=seconds
    )
    one = counts[0]
    for count in counts[1:]:
        yield compared(f"{method}, {via}, {STEPS} steps", times, name[count], name[one])
    for count in counts[1:] if via == "jit" else ():
        worst = float(np.max(np.abs(losses[count] / losses[one] - 1)))
        what = f"{method}, {via}, difference of the first losses from one device's, 1e-6"
        ours, allowed = (name[count], worst * 1e6), ("allowed", ALLOWED * 1e6)
        yield figures(what, ours, allowed, "", goal=1.0)


def main(argv: list[str] | None = None) -> Report:
    """Prints the table."""
    parser = arguments(__doc__)
    parser.add_argument("--counts", type=int, nargs="*", default=[1, 2, 4, 8])
    parser.add_argument("--via", nargs="*", default=["jit", "pmap"], choices=["jit", "pmap"])
    parser.add_argument("--method", default="varmixup", choices=list(METHODS))
    args = parser.parse_args(argv)
    with contextlib.suppress(RuntimeError):  # JAX has started: as many devices as there are
        jax.config.update("jax_num_cpu_devices", max(args.counts))
    counts = [count for count in args.counts if count <= len(jax.devices())]
    report = Report("scaling", args, argv)
    for via in args.via:
        report.piece(
            f"{args.method} {via}",
            lambda via=via: measure(
                counts,
                via,
                args.method,
                NETS["toy" if args.small else "r8"],
                repeats=args.repeats,
                seconds=args.seconds,
            ),
        )
    return report


if __name__ == "__main__":
    main()
