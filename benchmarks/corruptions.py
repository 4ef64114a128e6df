"""Images per second of the 15 corruptions against the original recipe, image by image on one core.

    python -m benchmarks.corruptions [--images 1000] [--recipe_images 40] [--repeats 3]

Needs scipy, opencv-python-headless, scikit-image and Pillow besides the package. In the recipe
(`benchmarks/recipe.py`) two operations are replaced by faster ones: ImageMagick's motion blur by one
OpenCV correlation, and the frost photographs by random arrays of their size. Both favour the recipe.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import cv2
import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import recipe
from varmixup_jax import corruptions
from varmixup_jax.corruptions.severity_tables import CIFAR

SIZE = recipe.SIZE
DRAWS = np.random.default_rng(0)
PHOTOGRAPHS = [DRAWS.uniform(size=(120, 180, 3))]


def seconds(run: Callable[[], object], repeats: int) -> float:
    """The smallest of `repeats` wall times."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times)


def main() -> None:
    """Prints one row per corruption, averaged over the severities, and the totals."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=1000, help="in our batch")
    parser.add_argument("--recipe_images", type=int, default=40)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    cv2.setNumThreads(1)
    coarse = DRAWS.uniform(size=(args.images, 6, 6, 3))
    pictures = np.stack(
        [cv2.resize(c, (SIZE, SIZE), interpolation=cv2.INTER_CUBIC) for c in coarse]
    )
    pictures = np.uint8(np.clip(pictures, 0, 1) * 255)
    images = jnp.asarray(pictures, jnp.float32) / 255
    print(f"{jax.default_backend()}, {args.images} images of {SIZE} x {SIZE}, mean of 5 severities")
    print("| corruption | recipe, images/s | ours, images/s | times | compile, s |")
    print("|---|---|---|---|---|")
    totals = np.zeros(2)
    speedups = []
    for name in corruptions.NAMES:

        def theirs(name: str = name) -> None:
            for row in CIFAR[name]:
                recipe.corrupted(name, pictures[: args.recipe_images], row, DRAWS, PHOTOGRAPHS)

        def ours(name: str = name) -> None:
            for severity in corruptions.SEVERITIES:
                key = jax.random.key(severity)
                jax.block_until_ready(corruptions.corrupt(key, name, images, severity))

        first = seconds(ours, 1)
        each = np.array(
            [
                seconds(theirs, args.repeats) / (5 * args.recipe_images),
                seconds(ours, args.repeats) / (5 * args.images),
            ]
        )
        totals += each
        speedups.append(each[0] / each[1])
        compile_time = max(first - each[1] * 5 * args.images, 0.0)
        print(
            f"| {name} | {1 / each[0]:,.0f} | {1 / each[1]:,.0f} | {speedups[-1]:.1f} "
            f"| {compile_time:.1f} |",
            flush=True,
        )
    count = len(corruptions.NAMES)
    print(
        f"| all 15, by total time | {count / totals[0]:,.0f} | {count / totals[1]:,.0f} "
        f"| {totals[0] / totals[1]:.1f} | |"
    )
    print(f"| geometric mean | | | {np.exp(np.mean(np.log(speedups))):.1f} | |")


if __name__ == "__main__":
    main()
