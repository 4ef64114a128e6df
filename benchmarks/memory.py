"""Memory: peak of a training process, and temporary buffers of an attack against its steps.

    python -m benchmarks.memory [--out FILE]

On a CPU the peak is the resident set of a process that trained three steps, including imports and
compilation; on an accelerator, the device's own peak. An attack's temporary buffers are those that
its compiled program asks for: 2 steps and 40 steps must need the same.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator

import jax

from benchmarks import cases
from benchmarks.child import run_child
from benchmarks.report import Report, arguments
from benchmarks.settings import EPS, NETS, PGD_STEP
from benchmarks.timing import Row, figures
from varmixup_jax.attacks.pgd import linf, pgd
from varmixup_jax.losses import cross_entropy

MIB = 2**20


def peaks(net: str, repeats: int) -> Iterator[Row]:
    """Peak memory of our training process and of PyTorch's."""
    seen: dict[str, list[float]] = {"jax_child": [], "torch_child": []}
    for _ in range(repeats):
        for child, values in seen.items():
            values.append(run_child(child, net, "--steps", "3")["peak"])
    ours, torch = (statistics.median(values) for values in seen.values())
    yield figures(
        f"{net} ERM, batch {NETS[net].batch}, peak of the process",
        ("ours", ours),
        ("torch eager", torch),
        "MiB",
        repeats=repeats,
    )


def attack_bytes(case: cases.Case, batch: int, steps: int) -> int:
    """Temporary bytes of the compiled PGD attack."""
    logits = cases.logits(case)
    image, label = cases.image_batch(case, batch)

    def attacked(variables, key, image, label):
        def loss(image):
            return cross_entropy(logits(variables, image), label)

        return pgd(key, image, loss, ball=linf(EPS), steps=steps, step_size=PGD_STEP).image

    compiled = jax.jit(attacked).lower(case.variables, jax.random.key(0), image, label).compile()
    return compiled.memory_analysis().temp_size_in_bytes


def attack_growth(net: str) -> Iterator[Row]:
    """Temporary buffers of 40 steps against those of 2."""
    case, batch = cases.make_case(NETS[net], vae_width=4), NETS[net].attack_batch
    few, many = (attack_bytes(case, batch, steps) / MIB for steps in (2, 40))
    what = f"{net} PGD, batch {batch}, temporary buffers"
    yield figures(what, ("40 steps", many), ("2 steps", few), "MiB", goal=1.01)


def main(argv: list[str] | None = None) -> Report:
    """Prints the table."""
    args = arguments(__doc__).parse_args(argv)
    report = Report("memory", args, argv)
    nets = ["toy"] if args.small else ["r8", "r18"]
    for net in nets:
        report.piece(f"{net} attack", lambda net=net: attack_growth(net))
        report.piece(f"{net} peak", lambda net=net: peaks(net, args.repeats))
    return report


if __name__ == "__main__":
    main()
