"""The MMD-VAE: one training step, and decoding a batch, against PyTorch.

    python -m benchmarks.vae_step [--out FILE]

32x32 images, a spatial latent of 8x8x8, one residual block per resolution, batches of 128, the
unbiased estimate with the rbf kernel, SGD. The sizes are those of the digits recipe's VAE.
"""

from __future__ import annotations

from collections.abc import Iterator

import jax

from benchmarks import cases
from benchmarks.report import Report, arguments
from benchmarks.settings import NETS
from benchmarks.timing import Row, alternate, compared


def measure(case: cases.Case, batch: int, *, repeats: int, seconds: float) -> Iterator[Row]:
    """The step and the decoder; PyTorch eager, and compiled for the step."""
    from benchmarks.torch_peers import VAEPeer

    order = cases.batches(case, batch, 1)
    peer = VAEPeer(case)
    times = alternate(
        {
            "ours": cases.single_steps(cases.vae_step_parts(case), order),
            "torch eager": peer.steps(order),
        },
        repeats=repeats,
        seconds=seconds,
    )
    what = f"VAE width {case.vae_width}, step, batch {batch}"
    yield compared(what, times, "ours", "torch eager", goal=1.6)
    decode = jax.jit(case.vae.decode)
    latent = jax.device_put(case.latents[:batch])
    times = alternate(
        {
            "ours": lambda: jax.block_until_ready(decode(case.vae_params, latent)),
            "torch eager": peer.decodes(batch),
        },
        repeats=repeats,
        seconds=seconds,
    )
    what = f"VAE width {case.vae_width}, decode, batch {batch}"
    yield compared(what, times, "ours", "torch eager")


def main(argv: list[str] | None = None) -> Report:
    """Prints the table."""
    parser = arguments(__doc__)
    parser.add_argument("--widths", type=int, nargs="*", default=[8, 32])
    args = parser.parse_args(argv)
    report = Report("vae_step", args, argv)
    net = NETS["toy" if args.small else "r8"]
    for width in [4] if args.small else args.widths:
        report.piece(
            f"VAE width {width}",
            lambda width=width: measure(
                cases.make_case(net, vae_width=width),
                net.batch,
                repeats=args.repeats,
                seconds=args.seconds,
            ),
        )
    return report


if __name__ == "__main__":
    main()
