"""AugMix's nine operations in NumPy's float64, from Pillow's documentation, on `[H, W, C]` in [0, 1]."""

import numpy as np


def levels(image):
    return np.floor(np.clip(image, 0, 1) * 255 + 0.5).astype(int)


def _by_channel(function):
    def operation(image, strength):
        grey = levels(image)
        return np.stack([function(grey[..., c], strength) for c in range(3)], axis=-1) / 255

    return operation


def _autocontrast(grey, strength):
    low, high = grey.min(), grey.max()
    return grey if low == high else 255 * (grey - low) // (high - low)


def _equalize(grey, strength):
    counts = np.bincount(grey.ravel(), minlength=256)
    step = (grey.size - counts[grey.max()]) // 255
    if step == 0:
        return grey
    table = [(step // 2 + counts[:level].sum()) // step for level in range(256)]
    return np.minimum(np.array(table), 255)[grey]


def _posterize(grey, strength):
    kept = 4 - int(4 * strength / 10)
    return grey // 2 ** (8 - kept) * 2 ** (8 - kept)


def _solarize(grey, strength):
    return np.where(grey < 256 - int(256 * strength / 10), grey, 255 - grey)


def _read(image, x, y):
    """Bilinear between centres of pixels at halves; black outside, the border repeated inside it."""
    height, width = image.shape[:2]
    if not (0 <= x < width and 0 <= y < height):
        return np.zeros(image.shape[2])
    left, top = int(np.floor(x - 0.5)), int(np.floor(y - 0.5))
    part_x, part_y = x - 0.5 - left, y - 0.5 - top
    out = np.zeros(image.shape[2])
    for row, of_row in ((top, 1 - part_y), (top + 1, part_y)):
        for column, of_column in ((left, 1 - part_x), (left + 1, part_x)):
            pixel = image[min(max(row, 0), height - 1), min(max(column, 0), width - 1)]
            out += of_row * of_column * pixel
    return out


def _geometry(source):
    """An operation that reads pixel (x, y) at `source(x, y, strength, width, height)`."""

    def operation(image, strength):
        height, width = image.shape[:2]
        out = np.zeros(image.shape)
        for row, column in np.ndindex(height, width):
            at = source(column + 0.5, row + 0.5, strength, width, height)
            out[row, column] = _read(image, *at)
        return out

    return operation


def _rotate(x, y, strength, width, height):
    angle = np.deg2rad(int(30 * strength / 10))
    x, y = x - width / 2, y - height / 2
    turned_x = np.cos(angle) * x - np.sin(angle) * y
    turned_y = np.sin(angle) * x + np.cos(angle) * y
    return turned_x + width / 2, turned_y + height / 2


OPERATIONS = {
    "autocontrast": _by_channel(_autocontrast),
    "equalize": _by_channel(_equalize),
    "posterize": _by_channel(_posterize),
    "solarize": _by_channel(_solarize),
    "rotate": _geometry(_rotate),
    "shear_x": _geometry(lambda x, y, s, w, h: (x + 0.03 * s * y, y)),
    "shear_y": _geometry(lambda x, y, s, w, h: (x, y + 0.03 * s * x)),
    "translate_x": _geometry(lambda x, y, s, w, h: (x + int(s / 10 * w / 3), y)),
    "translate_y": _geometry(lambda x, y, s, w, h: (x, y + int(s / 10 * h / 3))),
}
