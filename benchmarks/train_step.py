"""A training step of each method: ours against PyTorch, and against our own ERM step.

    python -m benchmarks.train_step [--nets r8 r18] [--methods erm mixup ...] [--out FILE]

r8 is ResNet-8 of width 16 with batches of 128, r18 the CIFAR ResNet-18 of width 64 with batches of
64 (16 for methods that attack, which take nearly ten times as long). 32x32 images, float32, SGD with
momentum; images and labels are on the device, without crop and flip. Ours are steps in one program
(8, 2 with r18, 1 with an attack) under the commands' XLA flags, as training on a CPU runs them. PyTorch
runs eagerly in channels-last layout; for ERM also through `torch.compile`, where that works.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from benchmarks import cases
from benchmarks.loop import looped, repeated
from benchmarks.report import Report, arguments
from benchmarks.settings import ATTACKS, NETS, Net
from benchmarks.timing import Row, alternate, compared
from varmixup_jax.methods import METHODS, paper_methods


def measure(
    name: str, method: str, net: Net, *, repeats: int, seconds: float, torch: bool = True
) -> Iterator[Row]:
    """The rows of one method on one net: against PyTorch eager and compiled, and against ERM."""
    batch, steps = (net.attack_batch, 1) if method in ATTACKS else (net.batch, net.steps)
    uses_vae = METHODS[method].vae != "none"
    widths = net.vae_widths if method == "varmixup" else net.vae_widths[:1]
    for vae_width in widths:
        case = cases.make_case(net, vae_width=vae_width)
        order = cases.batches(case, batch, 1)
        variants: dict[str, Callable[[], None]] = {"ours": looped(case, method, batch, steps)}
        if torch:
            from benchmarks.torch_peers import Peer

            variants["torch eager"] = repeated(Peer(case).steps(method, order), steps)
            if method == "erm":
                compiled = Peer(case, compiled=True).steps(method, order)
                variants["torch.compile"] = repeated(compiled, steps)
        if method != "erm":
            variants["our ERM"] = looped(case, "erm", batch, steps)
        variants = _working(variants)
        times = {
            name: [taken / steps for taken in each]
            for name, each in alternate(variants, repeats=repeats, seconds=seconds).items()
        }
        what = f"{name} {method}, batch {batch}"
        if uses_vae:
            what += f", VAE width {vae_width}"
        for peer in list(variants)[1:]:
            goal = net.goal if (method, peer) == ("erm", "torch eager") else None
            if peer == "our ERM" and vae_width == widths[0]:
                goal = dict(net.against_erm).get(method)
            yield compared(what, times, "ours", peer, goal=goal)


def _working(variants: dict[str, Callable[[], None]]) -> dict[str, Callable[[], None]]:
    """Leaves out `torch.compile` if it does not run here (it may need a C++ compiler)."""
    if "torch.compile" in variants:
        try:
            variants["torch.compile"]()
        except Exception as error:
            print(f"torch.compile is left out: {type(error).__name__}", flush=True)
            return {k: v for k, v in variants.items() if k != "torch.compile"}
    return variants


def main(argv: list[str] | None = None) -> Report:
    """Prints the table."""
    parser = arguments(__doc__)
    parser.add_argument("--nets", nargs="*", default=["r8", "r18"], choices=list(NETS))
    parser.add_argument("--methods", nargs="*", default=paper_methods(), choices=paper_methods())
    parser.add_argument("--no_torch", action="store_true", help="our own ERM as the only peer")
    args = parser.parse_args(argv)
    names = ["toy"] if args.small else args.nets
    report = Report("train_step", args, argv)
    for name in names:
        for method in args.methods:
            report.piece(
                f"{name} {method}",
                lambda name=name, method=method: measure(
                    name,
                    method,
                    NETS[name],
                    repeats=args.repeats,
                    seconds=args.seconds,
                    torch=not args.no_torch,
                ),
            )
    return report


if __name__ == "__main__":
    main()
