"""Images per second of the 15 corruptions against the original recipe, image by image on one core.

    python benchmarks/corruptions.py [--images 1000] [--recipe_images 40] [--repeats 3]

Needs scipy, opencv-python-headless, scikit-image and Pillow besides the package. The recipe is
written here with the operations of the published generators, so that it runs on today's numpy. Two
of its operations are replaced by faster ones: ImageMagick's motion blur by one OpenCV correlation,
and the frost photographs by random arrays of their size. Both favour the recipe.
"""

from __future__ import annotations

import argparse
import io
import time
from collections.abc import Callable

import cv2
import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image
from scipy.ndimage import map_coordinates, zoom
from skimage.color import hsv2rgb, rgb2hsv
from skimage.filters import gaussian
from skimage.util import random_noise

from varmixup_jax import corruptions
from varmixup_jax.corruptions.tables import CIFAR

SIZE = 32
RNG = np.random.default_rng(0)
PHOTOGRAPH = RNG.integers(0, 256, (120, 180, 3)).astype(np.float64)

Recipe = Callable[..., np.ndarray]


def gaussian_noise(x: np.ndarray, scale: float) -> np.ndarray:
    return x + RNG.normal(size=x.shape, scale=scale)


def shot_noise(x: np.ndarray, photons: float) -> np.ndarray:
    return RNG.poisson(x * photons) / photons


def impulse_noise(x: np.ndarray, amount: float) -> np.ndarray:
    return random_noise(x, mode="s&p", amount=amount)


def defocus_blur(x: np.ndarray, radius: float, alias: float) -> np.ndarray:
    y, z = np.mgrid[-8:9, -8:9]
    disk = (z**2 + y**2 <= radius**2).astype(np.float32)
    kernel = cv2.GaussianBlur(disk / disk.sum(), (3, 3), sigmaX=alias)
    return np.stack([cv2.filter2D(x[..., c], -1, kernel) for c in range(3)], axis=-1)


def glass_blur(x: np.ndarray, sigma: float, reach: int, passes: int) -> np.ndarray:
    x = np.uint8(gaussian(x, sigma=sigma, channel_axis=-1) * 255)
    for _ in range(passes):
        for row in range(SIZE - reach, reach, -1):
            for col in range(SIZE - reach, reach, -1):
                right, down = RNG.integers(-reach, reach, size=2)
                x[row, col] = x[row + down, col + right]
    return gaussian(x / 255.0, sigma=sigma, channel_axis=-1)


def streak(x: np.ndarray, radius: float, sigma: float, degrees: float) -> np.ndarray:
    taps = np.arange(2 * int(radius) + 1)
    weight = np.exp(-0.5 * (taps / sigma) ** 2)
    angle, reach = np.deg2rad(degrees), 2 * int(radius)
    kernel = np.zeros((2 * reach + 1, 2 * reach + 1))
    rows = np.ceil(taps * np.sin(angle) - 0.5).astype(int) + reach
    cols = np.ceil(taps * np.cos(angle) - 0.5).astype(int) + reach
    np.add.at(kernel, (rows, cols), weight / weight.sum())
    return cv2.filter2D(x, -1, kernel, borderType=cv2.BORDER_REPLICATE)


def motion_blur(x: np.ndarray, radius: float, sigma: float) -> np.ndarray:
    return streak(x, radius, sigma, RNG.uniform(-45, 45))


def centre_zoom(x: np.ndarray, factor: float) -> np.ndarray:
    crop = int(np.ceil(SIZE / factor))
    top = (SIZE - crop) // 2
    part = x[top : top + crop, top : top + crop]
    part = zoom(part, (factor, factor, 1), order=1)
    trim = (part.shape[0] - SIZE) // 2
    return part[trim : trim + SIZE, trim : trim + SIZE]


def zoom_blur(x: np.ndarray, count: int) -> np.ndarray:
    x = x.astype(np.float32)
    total = sum(centre_zoom(x, factor) for factor in 1 + 0.01000001 * np.arange(count))
    return (x + total) / (count + 1)


def snow(
    x: np.ndarray,
    mean: float,
    deviation: float,
    factor: float,
    threshold: float,
    radius: float,
    sigma: float,
    mix: float,
) -> np.ndarray:
    x = x.astype(np.float32)
    layer = centre_zoom(RNG.normal(mean, deviation, (SIZE, SIZE, 1)), factor)[..., 0]
    layer = np.uint8(np.clip(np.where(layer < threshold, 0, layer), 0, 1) * 255)
    layer = (streak(layer, radius, sigma, RNG.uniform(-135, -45)) / 255.0)[..., None]
    grey = cv2.cvtColor(x, cv2.COLOR_RGB2GRAY)[..., None]
    x = mix * x + (1 - mix) * np.maximum(x, grey * 1.5 + 0.5)
    return x + layer + np.rot90(layer, k=2)


def frost(x: np.ndarray, scale: float, weight: float) -> np.ndarray:
    row, col = RNG.integers(0, PHOTOGRAPH.shape[0] - SIZE), RNG.integers(0, 180 - SIZE)
    return scale * x + weight * PHOTOGRAPH[row : row + SIZE, col : col + SIZE] / 255


def plasma(decay: float) -> np.ndarray:
    height, step, wibble = np.zeros((SIZE, SIZE)), SIZE, 100.0
    while step >= 2:
        half = step // 2

        def mean(total: np.ndarray, amount: float = wibble) -> np.ndarray:
            return total / 4 + amount * RNG.uniform(-amount, amount, total.shape)

        corner = height[::step, ::step]
        pair = corner + np.roll(corner, -1, 0)
        height[half::step, half::step] = mean(pair + np.roll(pair, -1, 1))
        centre = height[half::step, half::step]
        across, down = corner + np.roll(corner, -1, 1), corner + np.roll(corner, -1, 0)
        height[::step, half::step] = mean(centre + np.roll(centre, 1, 0) + across)
        height[half::step, ::step] = mean(centre + np.roll(centre, 1, 1) + down)
        step, wibble = half, wibble / decay
    height -= height.min()
    return height / height.max()


def fog(x: np.ndarray, thickness: float, decay: float) -> np.ndarray:
    top = x.max()
    return (x + thickness * plasma(decay)[..., None]) * top / (top + thickness)


def brightness(x: np.ndarray, shift: float) -> np.ndarray:
    hsv = rgb2hsv(x)
    hsv[..., 2] = np.clip(hsv[..., 2] + shift, 0, 1)
    return hsv2rgb(hsv)


def contrast(x: np.ndarray, factor: float) -> np.ndarray:
    mean = x.mean(axis=(0, 1), keepdims=True)
    return (x - mean) * factor + mean


def elastic_transform(x: np.ndarray, alpha: float, sigma: float, jitter: float) -> np.ndarray:
    x = x.astype(np.float32)
    start = np.array([[26, 26], [26, 6], [6, 6]], np.float32)
    end = start + RNG.uniform(-jitter * SIZE, jitter * SIZE, (3, 2)).astype(np.float32)
    matrix = cv2.getAffineTransform(start, end)
    x = cv2.warpAffine(x, matrix, (SIZE, SIZE), borderMode=cv2.BORDER_REFLECT_101)
    right, down = (
        gaussian(RNG.uniform(-1, 1, (SIZE, SIZE)), sigma * SIZE, mode="reflect", truncate=3)
        * (alpha * SIZE)
        for _ in range(2)
    )
    col, row, channel = np.meshgrid(np.arange(SIZE), np.arange(SIZE), np.arange(3))
    at = row + down[..., None], col + right[..., None], channel
    return map_coordinates(x, [a.reshape(-1) for a in at], order=1, mode="reflect").reshape(x.shape)


def pixelate(x: np.ndarray, scale: float) -> np.ndarray:
    small = int(SIZE * scale)
    picture = Image.fromarray(np.uint8(x * 255)).resize((small, small), Image.Resampling.BOX)
    return np.asarray(picture.resize((SIZE, SIZE), Image.Resampling.BOX)) / 255


def jpeg_compression(x: np.ndarray, quality: float) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(np.uint8(x * 255)).save(file, "JPEG", quality=int(quality))
    return np.asarray(Image.open(file)) / 255


RECIPES: dict[str, Recipe] = {name: globals()[name] for name in corruptions.NAMES}


def seconds(run: Callable[[], object], repeats: int) -> float:
    """The least of `repeats` wall times."""
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
    coarse = RNG.uniform(size=(args.images, 6, 6, 3))
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
    for name, recipe in RECIPES.items():

        def theirs(recipe: Recipe = recipe, name: str = name) -> None:
            for row in CIFAR[name]:
                values = [int(v) if float(v).is_integer() else v for v in row]
                for picture in pictures[: args.recipe_images]:
                    np.uint8(np.clip(recipe(picture / 255.0, *values), 0, 1) * 255)

        def ours(name: str = name) -> None:
            for severity in corruptions.SEVERITIES:
                key = jax.random.key(severity)
                jax.block_until_ready(corruptions.corrupt(name, key, images, severity))

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
    count = len(RECIPES)
    print(
        f"| all 15, by total time | {count / totals[0]:,.0f} | {count / totals[1]:,.0f} "
        f"| {totals[0] / totals[1]:.1f} | |"
    )
    print(f"| geometric mean | | | {np.exp(np.mean(np.log(speedups))):.1f} | |")


if __name__ == "__main__":
    main()
