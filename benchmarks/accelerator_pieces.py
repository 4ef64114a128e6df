"""What `benchmarks.accelerator` measures: each function yields the rows of one piece."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from typing import NamedTuple

import jax

from benchmarks import cases, flops
from benchmarks.kernels import profiled
from benchmarks.settings import Net
from benchmarks.steps import Training
from benchmarks.timing import Row, alternate, compared, figures
from varmixup_jax import corruptions
from varmixup_jax.evaluation.protocol import EvaluationProtocol
from varmixup_jax.evaluation.suite import evaluate
from varmixup_jax.evaluation.tally import predict
from varmixup_jax.evaluation.views import computed_views

EPOCH = 50_000  # training images of CIFAR-10


class Sizes(NamedTuple):
    """What differs between the full run and the miniature.

    Attributes:
      net: the classifier.
      batch: of all pieces, and `batches` the others of the ERM step.
      calls: steps per call; the largest fills one program.
      vaes: (width, blocks, latent size) of the VAEs, and `vae_batch` of their own step.
      others: further methods that are measured against ERM.
      images: of the evaluation, and `eval_batch` its batch.
      names, severities: of the corruptions.
    """

    net: Net
    batch: int
    batches: tuple[int, ...]
    calls: tuple[int, ...]
    vaes: tuple[tuple[int, int, int], ...]
    vae_batch: int
    others: tuple[str, ...]
    images: int
    eval_batch: int
    names: tuple[str, ...]
    severities: tuple[int, ...]


def throughput(sizes: Sizes, clock: dict, batch: int) -> Iterator[Row]:
    """Images per second of the ERM step, relative to the device's peak."""
    case = _case(sizes, batch)
    peak = flops.peak(jax.devices()[0].device_kind)
    most = max(sizes.calls)
    training = Training(case, "erm", batch, most)
    variants = {
        f"{count} steps per call": training.looped(count, most // count) for count in sizes.calls
    }
    variants[f"{most} dispatches"] = training.dispatched(most)
    times = alternate(variants, **clock)
    rates = {name: batch * most / statistics.median(times[name]) for name in variants}
    if peak:
        ceiling = (f"at {peak[1]:g} TFLOP/s", peak[1] / (flops.train_step(case) / 1e12))
        for name, rate in rates.items():
            what = f"ERM step, batch {batch}, {name}"
            yield figures(what, (name, rate), ceiling, "images/s", repeats=clock["repeats"])
        best = ("ours", max(rates.values()))
        what = f"ERM, batch {batch}, the best, fraction of the peak"
        yield figures(what, best, ceiling, "images/s", goal=0.3, at_least=True)
        epoch = ("ours", EPOCH / best[1])
        what = f"ERM, batch {batch}, the best, epoch of 50,000"
        yield figures(what, epoch, ("goal", 0.7), "s", goal=1)
    one, many = f"{most} steps per call", f"{most} dispatches"
    yield compared(f"ERM, batch {batch}, {most} steps", times, one, many, goal=1.05)


def profile(sizes: Sizes) -> Iterator[Row]:
    """Busy time of a step by kind of kernel."""
    most = max(sizes.calls)
    call = Training(_case(sizes, sizes.batch), "erm", sizes.batch, most).looped(most)
    call()
    start = time.perf_counter()
    call()
    wall = ("on the clock", (time.perf_counter() - start) / most * 1e3)
    found = profiled(call)
    busy = sum(part.seconds for part in found.values()) / most * 1e3
    what = f"ERM step, batch {sizes.batch}"
    yield figures(f"{what}, busy", ("all kernels", busy), wall, "ms")
    for kind, part in found.items():
        name = f"{kind}, {part.count / most:.0f} kernels"
        yield figures(
            f"{what}, {kind}", (name, part.seconds / most * 1e3), ("all kernels", busy), "ms"
        )


def vicinal(sizes: Sizes, clock: dict, vae: tuple[int, int, int]) -> Iterator[Row]:
    """VarMixup against ERM."""
    case, most = _case(sizes, sizes.batch, vae), max(sizes.calls)
    variants = {
        name: Training(case, name, sizes.batch, most).looped(most) for name in ("varmixup", "erm")
    }
    times = alternate(variants, **clock)
    extra = flops.decode(case) / flops.train_step(case)
    what = f"VarMixup, batch {sizes.batch}, VAE {vae[0]} wide, {vae[1]} deep (+{extra:.0%} FLOP)"
    yield compared(what, times, "varmixup", "erm", goal=1.05)


def vae_step(sizes: Sizes, clock: dict, vae: tuple[int, int, int]) -> Iterator[Row]:
    """The step that trains a VAE, against an ERM step of as many images."""
    case, most = _case(sizes, sizes.vae_batch, vae), max(sizes.calls)
    vae_run = Training(case, "vae", sizes.vae_batch, most).looped(most)
    erm = Training(case, "erm", sizes.vae_batch, most).looped(most)
    times = alternate({"VAE": vae_run, "ERM": erm}, **clock)
    what = f"VAE {vae[0]} wide, {vae[1]} deep, batch {sizes.vae_batch}, {most} steps"
    yield compared(what, times, "VAE", "ERM")


def against_erm(sizes: Sizes, clock: dict, method: str) -> Iterator[Row]:
    """A method's step against ERM's."""
    case, most = _case(sizes, sizes.batch), max(sizes.calls)
    runs = {name: Training(case, name, sizes.batch, most).looped(most) for name in (method, "erm")}
    yield compared(f"{method}, batch {sizes.batch}, {most} steps", alternate(runs, **clock), *runs)


def attacked(sizes: Sizes, clock: dict) -> Iterator[Row]:
    """An attack step against a training step, and an epoch of adversarial training."""
    case = _case(sizes, sizes.batch)
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


def against_torch(sizes: Sizes, clock: dict, batch: int, *, compiled: bool) -> Iterator[Row]:
    """The ERM step against PyTorch's on the same device; its steps are queued as ours are."""
    import torch

    from benchmarks.torch_peers import Peer, wait

    gpu = torch.cuda.is_available()
    if not gpu:
        if jax.default_backend() != "cpu":
            raise RuntimeError("torch has no CUDA here")
        torch.set_num_threads(1)  # in miniature, threads would only wait for each other
    case, most = _case(sizes, batch), max(sizes.calls)
    peer = Peer(case, device="cuda" if gpu else "cpu", compiled=compiled, bf16=True)
    order = torch.tensor(cases.batches(case, batch, most), dtype=torch.long)
    order = order.to(peer.images.device)
    start = time.perf_counter()
    wait(peer.step("erm", order[0]))
    first = time.perf_counter() - start

    def theirs() -> None:
        for index in order:
            loss = peer.step("erm", index)
        wait(loss)

    name = f"torch{'.compile' if compiled else ' eager'} bf16"
    ours = Training(case, "erm", batch, most).looped(most)
    times = alternate({"ours": ours, name: theirs}, **clock)
    yield compared(f"ERM, batch {batch}, {most} steps", times, "ours", name, goal=1.0)
    later = ("later", statistics.median(times[name]) / most)
    yield figures(f"{name}, batch {batch}, a step", ("the first", first), later, "s")


def evaluation(sizes: Sizes) -> Iterator[Row]:
    """The computed corruption evaluation, first and repeated, against its forward passes alone."""
    case = cases.make_case(sizes.net, dtype="bfloat16", examples=sizes.images)
    logits, variables = cases.logits(case), jax.device_put(case.variables)
    views = computed_views(corruptions.corrupt, sizes.names, sizes.severities)

    def whole() -> None:
        evaluate(
            logits,
            variables,
            case.images,
            case.labels,
            EvaluationProtocol(
                batch_size=sizes.eval_batch, attack_examples=None, linearity_examples=None
            ),
            key=jax.random.key(0),
            corruptions=views,
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


def _case(sizes: Sizes, batch: int, vae: tuple[int, int, int] | None = None) -> cases.Case:
    width, blocks, latent = vae or sizes.vaes[0]
    return cases.make_case(
        sizes.net,
        dtype="bfloat16",
        examples=2 * batch,
        vae_width=width,
        vae_blocks=blocks,
        latent_size=latent,
    )
