"""Everything that is to be known about the speed on one accelerator, in under ten minutes.

    python -m benchmarks.accelerator [--out FILE] [--small]

CIFAR ResNet-18 in bfloat16 on 32x32 images that lie on the device: images per second of the ERM step
and their fraction of the device's peak, over batch sizes and steps per call; one program of many
steps against a dispatch for each; VarMixup, attacks and a PGD-10 epoch; PyTorch (eager and
`torch.compile`, bfloat16 autocast, channels last) on the same device in the same run, where it is
installed with CUDA; and the computed corruption evaluation of 10,000 images. A piece that fails
leaves its error in its row. `--small` runs it all in miniature, on a CPU too.

Peaks are those of `benchmarks/flops.py`: fractions are of the *sustained* figure (790 TFLOP/s for an
H100 or H200, whose nominal one is 989).
"""

from __future__ import annotations

import contextlib
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

import jax
from jax.experimental.compilation_cache import compilation_cache

from benchmarks import cases, flops
from benchmarks.report import Report, arguments
from benchmarks.settings import NETS, Net
from benchmarks.steps import Training
from benchmarks.timing import Row, alternate, compared, figures
from varmixup_jax import corruptions
from varmixup_jax.evaluation.suite import evaluate
from varmixup_jax.evaluation.tally import predict
from varmixup_jax.evaluation.views import computed_views

EPOCH = 50_000  # training images of CIFAR-10


class Sizes(NamedTuple):
    """What differs between the real run and the miniature.

    Attributes:
      net: the classifier.
      batches: of the ERM step; `batch` of all other pieces.
      calls: steps per call; the largest fills one program.
      vaes: (width, blocks, latent size) of the VAEs.
      images: of the evaluation, and `eval_batch` its batch.
      names, severities: of the corruptions.
    """

    net: Net
    batches: tuple[int, ...]
    batch: int
    calls: tuple[int, ...]
    vaes: tuple[tuple[int, int, int], ...]
    images: int
    eval_batch: int
    names: tuple[str, ...]
    severities: tuple[int, ...]


REAL = Sizes(
    NETS["r18"]._replace(batch=512),
    (128, 256, 512, 1024),
    512,
    (1, 10, 50),
    ((32, 1, 8), (64, 2, 16)),
    10_000,
    1000,
    tuple(corruptions.NAMES),
    tuple(corruptions.SEVERITIES),
)
SMALL = Sizes(NETS["toy"], (16,), 16, (1, 2), ((4, 1, 8),), 16, 8, ("brightness",), (1, 5))


def throughput(sizes: Sizes, clock: dict) -> Iterator[Row]:
    """Images per second of the ERM step against what the peak allows."""
    case = cases.make_case(sizes.net, dtype="bfloat16", examples=2 * max(sizes.batches))
    peak = flops.peak(jax.devices()[0].device_kind)
    per_image = flops.train_step(case) / 1e12
    most, best = max(sizes.calls), 0.0
    for batch in sizes.batches:
        training = Training(case, "erm", batch, most)
        variants = {
            f"{count} steps per call": training.looped(count, most // count)
            for count in sizes.calls
        }
        variants[f"{most} dispatches"] = training.dispatched(most)
        times = alternate(variants, **clock)
        for name in variants:
            rate = batch * most / statistics.median(times[name])
            best = max(best, rate)
            what = f"ERM step, batch {batch}, {name}"
            if peak:
                ours, ceiling = (name, rate), (f"at {peak[1]:g} TFLOP/s", peak[1] / per_image)
                yield figures(what, ours, ceiling, "images/s", repeats=clock["repeats"])
        yield compared(
            f"ERM, batch {batch}, {most} steps",
            times,
            f"{most} steps per call",
            f"{most} dispatches",
            goal=1.05,
        )
    if peak:
        ceiling = (f"at {peak[1]:g} TFLOP/s", peak[1] / per_image)
        what = "ERM, best of all, fraction of the peak"
        yield figures(what, ("ours", best), ceiling, "images/s", goal=0.3, at_least=True)
        epoch = ("ours", EPOCH / best)
        yield figures("ERM, best of all, epoch of 50,000", epoch, ("goal", 0.7), "s", goal=1)


def vicinal(sizes: Sizes, clock: dict) -> Iterator[Row]:
    """VarMixup against ERM, for each VAE."""
    most = max(sizes.calls)
    for width, blocks, latent in sizes.vaes:
        case = cases.make_case(
            sizes.net,
            dtype="bfloat16",
            examples=2 * sizes.batch,
            vae_width=width,
            vae_blocks=blocks,
            latent_size=latent,
        )
        variants = {
            name: Training(case, name, sizes.batch, most).looped(most)
            for name in ("varmixup", "mixup", "erm")
        }
        times = alternate(variants, **clock)
        extra = flops.decode(case) / flops.train_step(case)
        what = f"VarMixup, batch {sizes.batch}, VAE {width} wide, {blocks} deep (+{extra:.0%} FLOP)"
        yield compared(what, times, "varmixup", "erm", goal=1.05)
        yield compared(f"Mixup, batch {sizes.batch}", times, "mixup", "erm", goal=1.05)


def attacked(sizes: Sizes, clock: dict) -> Iterator[Row]:
    """An attack step against a training step, and an epoch of adversarial training."""
    case = cases.make_case(sizes.net, dtype="bfloat16", examples=2 * sizes.batch)
    most, steps = min(10, max(sizes.calls)), 10
    at = Training(case, "at", sizes.batch, most)
    erm = Training(case, "erm", sizes.batch, most)
    times = alternate({"at": at.looped(most), "erm": erm.looped(most)}, **clock)
    yield compared(f"PGD-10 training, batch {sizes.batch}", times, "at", "erm")
    pairs = zip(times["at"], times["erm"], strict=True)
    alone = {"attack step": [(a - e) / steps for a, e in pairs], "train step": times["erm"]}
    what = f"attack step, batch {sizes.batch}, {most} of them"
    yield compared(what, alone, "attack step", "train step", goal=0.7)
    if flops.peak(jax.devices()[0].device_kind) is None:
        return
    epoch = statistics.median(times["at"]) / most / sizes.batch * EPOCH
    yield figures("PGD-10 epoch of 50,000", ("ours", epoch), ("goal", 5.4), "s", goal=1)


def against_torch(sizes: Sizes, clock: dict, *, compiled: bool) -> Iterator[Row]:
    """The ERM step against PyTorch's on the same device; its steps are queued as ours are."""
    import torch

    from benchmarks.torch_peers import Peer, wait

    gpu = torch.cuda.is_available()
    if not gpu:
        if jax.default_backend() != "cpu":
            raise RuntimeError("torch has no CUDA here")
        torch.set_num_threads(1)  # the miniature: threads would only wait for each other
    most = max(sizes.calls)
    for batch in sizes.batches:
        case = cases.make_case(sizes.net, dtype="bfloat16", examples=2 * batch)
        peer = Peer(case, device="cuda" if gpu else "cpu", compiled=compiled, bf16=True)
        order = torch.tensor(cases.batches(case, batch, most), dtype=torch.long)
        order = order.to(peer.images.device)

        def theirs(peer: Peer = peer, order: torch.Tensor = order) -> None:
            for index in order:
                loss = peer.step("erm", index)
            wait(loss)

        name = f"torch{'.compile' if compiled else ' eager'} bf16"
        ours = Training(case, "erm", batch, most).looped(most)
        times = alternate({"ours": ours, name: theirs}, **clock)
        yield compared(f"ERM, batch {batch}, {most} steps", times, "ours", name, goal=1.0)


def evaluation(sizes: Sizes) -> Iterator[Row]:
    """The computed corruption evaluation, first and again, against its forward passes alone."""
    case = cases.make_case(sizes.net, dtype="bfloat16", examples=sizes.images)
    logits, variables = cases.logits(case), jax.device_put(case.variables)
    views = computed_views(corruptions.corrupt, sizes.names, sizes.severities)

    def whole() -> None:
        evaluate(
            logits,
            variables,
            case.images,
            case.labels,
            key=jax.random.key(0),
            batch_size=sizes.eval_batch,
            corruptions=views,
            pgd_steps=0,
            linearity_eps=(),
        )

    def forwards() -> None:
        for _ in range(1 + len(views)):
            predict(logits, variables, case.images, batch_size=sizes.eval_batch)

    start = time.perf_counter()
    whole()
    first = time.perf_counter() - start
    name = f"{1 + len(views)} forward passes"
    times = alternate({"again": whole, name: forwards}, repeats=3, seconds=0.0)
    what = f"evaluation, {sizes.images:,} images × {len(views)} views"
    yield compared(what, times, "again", name, unit="s")
    again = statistics.median(times["again"])
    yield figures(what, ("first, compiling", first), ("again", again), "s")


def main(argv: list[str] | None = None) -> Report:
    """Prints the table."""
    args = arguments(__doc__).parse_args(argv)
    # PyTorch needs its share of the device's memory; read when JAX starts its backend.
    os.environ.setdefault("XLA_PYTHON_CLIENT_MEM_FRACTION", "0.5")
    sizes = SMALL if args.small else REAL
    clock = {"repeats": args.repeats, "seconds": args.seconds}
    with tempfile.TemporaryDirectory() as cache, _cached(cache):
        return _pieces(Report("accelerator", args, argv), sizes, clock)


def _pieces(report: Report, sizes: Sizes, clock: dict) -> Report:
    report.piece("ERM throughput", partial(throughput, sizes, clock))
    report.piece("attacks", partial(attacked, sizes, clock))
    report.piece("torch.compile bf16", partial(against_torch, sizes, clock, compiled=True))
    report.piece("VarMixup", partial(vicinal, sizes, clock))
    report.piece("corruption evaluation", partial(evaluation, sizes))
    report.piece("torch eager bf16", partial(against_torch, sizes, clock, compiled=False))
    return report


@contextlib.contextmanager
def _cached(folder: str) -> Iterator[None]:
    """Programs that several pieces share are compiled once; nothing is left of another run."""
    settings = {
        "jax_compilation_cache_dir": folder,
        "jax_persistent_cache_min_compile_time_secs": 0,
        "jax_persistent_cache_min_entry_size_bytes": -1,
    }
    before = {name: getattr(jax.config, name) for name in settings}
    for name, value in settings.items():
        jax.config.update(name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            jax.config.update(name, value)
        compilation_cache.reset_cache()


if __name__ == "__main__":
    main()
