"""The style of all charts: a fixed colour, marker and dash per method, SVG that follows the theme.

Colours are chosen to be distinguishable with the three common colour-vision deficiencies, and never
carry meaning alone: marker and dash differ as well. Charts are drawn in the light theme; in the page
each colour becomes a CSS variable, which the page sets for light and dark.
"""

from __future__ import annotations

import hashlib
import io
import itertools
import json
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib.style
from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure


class Style(NamedTuple):
    """How one method is drawn: colours for a light and a dark page, marker, dash pattern."""

    light: str
    dark: str
    marker: str
    dash: str | tuple


SETTINGS: dict[str, Any] = dict(
    matplotlib.rc_params_from_file(
        Path(__file__).with_name("charts.mplstyle"), use_default_template=False
    ).items()
)
INK, MUTED, GRID, PAPER = (
    "#" + SETTINGS[name].removeprefix("#")
    for name in ("text.color", "axes.edgecolor", "grid.color", "figure.facecolor")
)
THEME: Mapping[str, str] = {INK: "#e7ebf0", MUTED: "#a4adba", GRID: "#333b47", PAPER: "#171c23"}

LINE = 0.19  # inches taken by a further line of a title


def _style(light: str, dark: str, marker: str, dash: Any) -> Style:
    return Style(light, dark, marker, dash if isinstance(dash, str) else tuple(dash))


# For the paper's methods, and for further rows. The colours were found by maximising the smallest
# distance (CIE Lab, at least 30 in either theme) between any two of the methods, over normal vision,
# protanopia, deuteranopia and tritanopia.
_FOUND = json.loads(Path(__file__).with_name("styles.json").read_text(encoding="utf-8"))
_STYLES = {method: _style(*parts) for method, parts in _FOUND["methods"].items()}
_FURTHER = [_style(*parts) for parts in _FOUND["further"]]


def styles(labels_and_methods: Iterable[tuple[str, str]]) -> dict[str, Style]:
    """A style per label: the fixed one for a known method's first label, further ones for the rest.

    Once those are used up, the styles of methods that are not present are used too.

    >>> found = styles([("erm", "erm"), ("mine", "mine")])
    >>> found["erm"].marker, found["mine"].marker
    ('o', 'h')
    """
    pairs = list(labels_and_methods)
    there = {method for _, method in pairs}
    unused = [style for method, style in _STYLES.items() if method not in there]
    further = itertools.cycle([*_FURTHER, *unused])
    fixed, given = dict(_STYLES), {}
    for label, method in pairs:
        given[label] = fixed.pop(method) if method in fixed else next(further)
    return given


@contextmanager
def drawing(**changes: Any) -> Iterator[None]:
    """Matplotlib's defaults with the style of the page, ignoring any matplotlibrc of the user.

    Warnings about glyphs missing in the font are off: a browser has them, a picture shows boxes.
    """
    look = matplotlib.style.context(["default", {**SETTINGS, **changes}])
    with look, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph ", category=UserWarning)
        yield


@contextmanager
def panel(title: str, width: float = 4.6, height: float = 3.1) -> Iterator[tuple[Figure, Axes]]:
    """A figure of one axes in the house style, width and height in inches."""
    with drawing():
        height += LINE * title.count("\n")
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        axes.set_title(title)
        axes.tick_params(length=0)
        yield figure, axes


def svg(figure: Figure, title: str) -> Markup:
    """The figure as an inline `<svg>` that scales with its column and follows the page's theme.

    Ids get a prefix derived from the drawing itself, so that the charts of a page never share ids.

    Args:
      figure: drawn in the light colours of this module.
      title: the alt text; "" for mere decoration.
    """
    target = io.StringIO()
    with drawing():
        figure.savefig(target, format="svg", metadata={"Date": None}, transparent=True)
    text = target.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->", "", text, flags=re.S)
    text = re.sub(r'<g id="[^"]*"', "<g", text)
    prefix = "g" + hashlib.sha256(text.encode()).hexdigest()[:8]
    text = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{prefix}-", text)
    text = re.sub(r'^<svg [^>]*?viewBox="([^"]*)"[^>]*>', _opening(title), text, flags=re.S)
    text = re.sub(r"'DejaVu Sans'[^;\"]*", "var(--font)", text)
    for light in colours():
        text = text.replace(light, f"var(--{light[1:]})")
    return Markup(re.sub(r"\n\s*", "\n", text).strip())


def png(figure: Figure, dpi: int) -> bytes:
    """The figure as a PNG file."""
    target = io.BytesIO()
    with drawing():
        figure.savefig(target, format="png", dpi=dpi, metadata={"Software": None})
    return target.getvalue()


def colours() -> dict[str, str]:
    """Every light colour with its dark counterpart."""
    return {**THEME, **{style.light: style.dark for style in (*_STYLES.values(), *_FURTHER)}}


def key(style: Style) -> Markup:
    """The line and marker of a method as a small inline SVG, for legends in the page."""
    with drawing():
        figure = Figure(figsize=(0.42, 0.18))
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set_axis_off()
        axes.set(xlim=(0, 1), ylim=(-1, 1))
        axes.plot([0.02, 0.98], [0, 0], color=style.light, linestyle=style.dash)
        axes.plot([0.5], [0], color=style.light, marker=style.marker, markersize=6.5)
    return svg(figure, "")


def _opening(title: str) -> str:
    label = f'role="img" aria-label="{escape(title)}"' if title else 'aria-hidden="true"'
    label = label.replace("\\", r"\\")
    spaces = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
    return rf'<svg viewBox="\1" {label} {spaces}>'
