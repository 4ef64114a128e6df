"""A process that trains a few of our ERM steps and prints their cost. Started by other benchmarks."""

from __future__ import annotations

import argparse
import json
import resource
import time

import jax
import jax.numpy as jnp

from benchmarks import cases
from benchmarks.settings import MEAN, NETS, STD
from varmixup_jax import models
from varmixup_jax.compilation import keep_programs


def main() -> None:
    """Prints `peak` (MiB), and `state`, the seconds that drawing a ResNet-18's variables takes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("net", choices=list(NETS))
    parser.add_argument("--steps", type=int, default=1)
    parser.add_argument("--state", action="store_true", help="draw a ResNet-18's variables, too")
    args = parser.parse_args()
    keep_programs()
    case = cases.make_case(NETS[args.net], vae_width=4)
    order = cases.batches(case, NETS[args.net].batch, 1)
    call = cases.single_steps(cases.step_parts(case, "erm"), order)
    for _ in range(args.steps):
        call()
    found = {"peak": peak()}
    if args.state:
        start = time.perf_counter()
        module = models.build_classifier("resnet18", num_classes=10, mean=MEAN, std=STD)
        image = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)
        jax.block_until_ready(models.init(jax.random.key(0), module, image, train=False))
        found["state"] = time.perf_counter() - start
    print(json.dumps(found))


def peak() -> float:
    """Peak memory in MiB: the accelerator's, or the resident set of this process on a CPU."""
    stats = jax.devices()[0].memory_stats() or {}
    if "peak_bytes_in_use" in stats:
        return stats["peak_bytes_in_use"] / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
