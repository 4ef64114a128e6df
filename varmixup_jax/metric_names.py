"""Names of measures that contain a number: made when rows are written, parsed when they are read."""

from __future__ import annotations

import math
import re

_LINEARITY = re.compile(r"local_linearity_error_(\d+(?:\.\d+)?(?:e[+-]\d+)?)/255")
_DIGITS = 4  # so that 0.031373 gives 8/255: a radius typed as a decimal gives the intended fraction


def linearity_name(eps: float) -> str:
    """The name of the local linearity error within radius `eps`, pixels in [0, 1].

    >>> linearity_name(8 / 255), linearity_name(0.031373), linearity_name(0.03)
    ('local_linearity_error_8/255', 'local_linearity_error_8/255', 'local_linearity_error_7.65/255')
    """
    return f"local_linearity_error_{255 * eps:.{_DIGITS}g}/255"


def linearity_radius(name: str) -> float | None:
    """The radius in units of 1/255 in a measure's name; None for any other measure.

    >>> linearity_radius("local_linearity_error_7.65/255"), linearity_radius("accuracy")
    (7.65, None)
    """
    found = _LINEARITY.fullmatch(name)
    radius = float(f"{float(found[1]):.{_DIGITS}g}") if found else math.inf
    return radius if math.isfinite(radius) else None
