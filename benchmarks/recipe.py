"""The original recipe, image by image, with the operations of the published generators.

Written for current NumPy, on which the generators no longer run. ImageMagick's motion blur is one
OpenCV correlation here, which is faster. Needs scipy, opencv-python-headless and scikit-image.
"""

from __future__ import annotations

import io
from collections.abc import Callable

import cv2
import numpy as np
from PIL import Image
from scipy.ndimage import map_coordinates, zoom
from skimage.color import hsv2rgb, rgb2hsv
from skimage.filters import gaussian
from skimage.util import random_noise

from varmixup_jax import corruptions

SIZE = 32

Draws = np.random.Generator
Recipe = Callable[..., np.ndarray]
"""`(draws, x [32, 32, 3] in [0, 1], *parameters) -> x`, not yet clipped."""


def corrupted(
    name: str,
    pictures: np.ndarray,
    parameters: tuple[float, ...],
    draws: Draws,
    photographs: list[np.ndarray],
) -> np.ndarray:
    """Corrupts images one by one.

    Args:
      name: of the corruption.
      pictures: uint8 `[N, 32, 32, 3]`.
      parameters: of one severity.
      draws: a generator.
      photographs: to crop frost from, float `[H, W, 3]` in [0, 1] each.

    Returns:
      uint8 `[N, 32, 32, 3]`, clipped and truncated.
    """
    values = [int(v) if float(v).is_integer() else v for v in parameters]
    more = (photographs,) if name == "frost" else ()
    made = [RECIPES[name](draws, picture / 255.0, *values, *more) for picture in pictures]
    return np.uint8(np.clip(np.stack(made), 0, 1) * 255)


def cut(textures: corruptions.FrostTextures) -> list[np.ndarray]:
    """The shrunk photographs without their padding."""
    return [
        np.asarray(image, np.float64)[:height, :width]
        for image, (height, width) in zip(
            textures.images, np.asarray(textures.sizes).tolist(), strict=True
        )
    ]


def gaussian_noise(draws: Draws, x: np.ndarray, scale: float) -> np.ndarray:
    return x + draws.normal(size=x.shape, scale=scale)


def shot_noise(draws: Draws, x: np.ndarray, photons: float) -> np.ndarray:
    return draws.poisson(x * photons) / photons


def impulse_noise(draws: Draws, x: np.ndarray, amount: float) -> np.ndarray:
    return random_noise(x, mode="s&p", amount=amount, rng=draws)


def speckle_noise(draws: Draws, x: np.ndarray, scale: float) -> np.ndarray:
    return x + x * draws.normal(size=x.shape, scale=scale)


def gaussian_blur(draws: Draws, x: np.ndarray, sigma: float) -> np.ndarray:
    return gaussian(x, sigma=sigma, channel_axis=-1)


def defocus_blur(draws: Draws, x: np.ndarray, radius: float, alias: float) -> np.ndarray:
    y, z = np.mgrid[-8:9, -8:9]
    disk = (z**2 + y**2 <= radius**2).astype(np.float32)
    kernel = cv2.GaussianBlur(disk / disk.sum(), (3, 3), sigmaX=alias)
    return np.stack([cv2.filter2D(x[..., c], -1, kernel) for c in range(3)], axis=-1)


def glass_blur(draws: Draws, x: np.ndarray, sigma: float, reach: int, passes: int) -> np.ndarray:
    x = np.uint8(gaussian(x, sigma=sigma, channel_axis=-1) * 255)
    for _ in range(passes):
        for row in range(SIZE - reach, reach, -1):
            for col in range(SIZE - reach, reach, -1):
                right, down = draws.integers(-reach, reach, size=2)
                x[row, col] = x[row + down, col + right]
    return gaussian(x / 255.0, sigma=sigma, channel_axis=-1)


def streak(x: np.ndarray, radius: float, sigma: float, degrees: float) -> np.ndarray:
    """ImageMagick's motion blur of values in [0, 1], truncated to 8 bits as in its output."""
    taps = np.arange(2 * int(radius) + 1)
    weight = np.exp(-0.5 * (taps / sigma) ** 2)
    angle, reach = np.deg2rad(degrees), 2 * int(radius)
    kernel = np.zeros((2 * reach + 1, 2 * reach + 1))
    rows = np.ceil(taps * np.sin(angle) - 0.5).astype(int) + reach
    cols = np.ceil(taps * np.cos(angle) - 0.5).astype(int) + reach
    np.add.at(kernel, (rows, cols), weight / weight.sum())
    blurred = cv2.filter2D(x, -1, kernel, borderType=cv2.BORDER_REPLICATE)
    return np.floor(blurred * 255 + 1e-6) / 255


def motion_blur(draws: Draws, x: np.ndarray, radius: float, sigma: float) -> np.ndarray:
    return streak(x, radius, sigma, draws.uniform(-45, 45))


def centre_zoom(x: np.ndarray, factor: float) -> np.ndarray:
    crop = int(np.ceil(SIZE / factor))
    top = (SIZE - crop) // 2
    part = x[top : top + crop, top : top + crop]
    part = zoom(part, (factor, factor, 1), order=1)
    trim = (part.shape[0] - SIZE) // 2
    return part[trim : trim + SIZE, trim : trim + SIZE]


def zoom_blur(draws: Draws, x: np.ndarray, count: int) -> np.ndarray:
    x = x.astype(np.float32)
    total = sum(centre_zoom(x, factor) for factor in 1 + 0.01000001 * np.arange(count))
    return (x + total) / (count + 1)


def snow(
    draws: Draws,
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
    layer = centre_zoom(draws.normal(mean, deviation, (SIZE, SIZE, 1)), factor)[..., 0]
    layer = np.uint8(np.clip(np.where(layer < threshold, 0, layer), 0, 1) * 255) / 255
    layer = streak(layer, radius, sigma, draws.uniform(-135, -45))[..., None]
    grey = cv2.cvtColor(x, cv2.COLOR_RGB2GRAY)[..., None]
    x = mix * x + (1 - mix) * np.maximum(x, grey * 1.5 + 0.5)
    return x + layer + np.rot90(layer, k=2)


def frost(
    draws: Draws, x: np.ndarray, scale: float, weight: float, photographs: list[np.ndarray]
) -> np.ndarray:
    photograph = photographs[draws.integers(len(photographs))]
    row, col = (draws.integers(0, side - SIZE) for side in photograph.shape[:2])
    return scale * x + weight * photograph[row : row + SIZE, col : col + SIZE]


def plasma(draws: Draws, decay: float) -> np.ndarray:
    height, step, wibble = np.zeros((SIZE, SIZE)), SIZE, 100.0
    while step >= 2:
        half = step // 2

        def mean(total: np.ndarray, amount: float = wibble) -> np.ndarray:
            return total / 4 + amount * draws.uniform(-amount, amount, total.shape)

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


def fog(draws: Draws, x: np.ndarray, thickness: float, decay: float) -> np.ndarray:
    top = x.max()
    return (x + thickness * plasma(draws, decay)[..., None]) * top / (top + thickness)


def spatter(
    draws: Draws,
    x: np.ndarray,
    mean: float,
    deviation: float,
    sigma: float,
    threshold: float,
    strength: float,
    mud: int,
) -> np.ndarray:
    x = x.astype(np.float32)
    layer = gaussian(draws.normal(mean, deviation, (SIZE, SIZE)), sigma=sigma)
    if mud:
        mask = gaussian((layer > threshold).astype(np.float32), sigma=strength)
        mask = np.where(mask < 0.8, 0, mask)[..., None]
        return x * (1 - mask) + mask * np.array([63, 42, 20]) / 255
    levels = np.uint8(np.where(layer < threshold, 0, layer) * 255)
    distance = cv2.distanceTransform(255 - cv2.Canny(levels, 50, 150), cv2.DIST_L2, 5)
    distance = cv2.threshold(distance, 20, 20, cv2.THRESH_TRUNC)[1]
    distance = cv2.equalizeHist(cv2.blur(distance, (3, 3)).astype(np.uint8))
    emboss = np.array([[-2, -1, 0], [-1, 1, 1], [0, 1, 2]])
    raised = cv2.blur(cv2.filter2D(distance, cv2.CV_8U, emboss), (3, 3)).astype(np.float32)
    sheen = levels * raised
    if not sheen.any():  # the generator divides by zero here
        return x
    return x + strength * (sheen / sheen.max())[..., None] * np.array([175, 238, 238]) / 255


def brightness(draws: Draws, x: np.ndarray, shift: float) -> np.ndarray:
    hsv = rgb2hsv(x)
    hsv[..., 2] = np.clip(hsv[..., 2] + shift, 0, 1)
    return hsv2rgb(hsv)


def saturate(draws: Draws, x: np.ndarray, scale: float, offset: float) -> np.ndarray:
    hsv = rgb2hsv(x)
    hsv[..., 1] = np.clip(hsv[..., 1] * scale + offset, 0, 1)
    return hsv2rgb(hsv)


def contrast(draws: Draws, x: np.ndarray, factor: float) -> np.ndarray:
    mean = x.mean(axis=(0, 1), keepdims=True)
    return (x - mean) * factor + mean


def elastic_transform(
    draws: Draws, x: np.ndarray, alpha: float, sigma: float, jitter: float
) -> np.ndarray:
    x = x.astype(np.float32)
    start = np.array([[26, 26], [26, 6], [6, 6]], np.float32)
    end = start + draws.uniform(-jitter * SIZE, jitter * SIZE, (3, 2)).astype(np.float32)
    matrix = cv2.getAffineTransform(start, end)
    x = cv2.warpAffine(x, matrix, (SIZE, SIZE), borderMode=cv2.BORDER_REFLECT_101)
    right, down = (
        gaussian(draws.uniform(-1, 1, (SIZE, SIZE)), sigma * SIZE, mode="reflect", truncate=3)
        * (alpha * SIZE)
        for _ in range(2)
    )
    col, row, channel = np.meshgrid(np.arange(SIZE), np.arange(SIZE), np.arange(3))
    at = row + down[..., None], col + right[..., None], channel
    return map_coordinates(x, [a.reshape(-1) for a in at], order=1, mode="reflect").reshape(x.shape)


def pixelate(draws: Draws, x: np.ndarray, scale: float) -> np.ndarray:
    small = int(SIZE * scale)
    picture = Image.fromarray(np.uint8(np.rint(x * 255)))
    picture = picture.resize((small, small), Image.Resampling.BOX)
    return _as_read(np.asarray(picture.resize((SIZE, SIZE), Image.Resampling.BOX)))


def jpeg_compression(draws: Draws, x: np.ndarray, quality: float) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(np.uint8(np.rint(x * 255))).save(file, "JPEG", quality=int(quality))
    return _as_read(np.asarray(Image.open(file)))


def _as_read(levels: np.ndarray) -> np.ndarray:
    """Grey levels to [0, 1], such that truncation gives them back."""
    return (levels + 0.5) / 255


RECIPES: dict[str, Recipe] = {
    name: globals()[name] for name in (*corruptions.NAMES, *corruptions.EXTRA)
}
