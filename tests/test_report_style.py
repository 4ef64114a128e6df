"""The look: colours that stay apart for every eye, one per method, wherever the method stands."""

import matplotlib
import numpy as np
import pytest

from varmixup_jax.report import style
from varmixup_jax.report.names import METHODS

# Machado, Oliveira, Fernandes 2009: linear RGB as seen with the full deficiency.
DEFICIENCIES = {
    "none": np.eye(3),
    "protanopia": np.array([[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
                            [-0.003882, -0.048116, 1.051998]]),
    "deuteranopia": np.array([[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
                              [-0.011820, 0.042940, 0.968881]]),
    "tritanopia": np.array([[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602],
                            [0.004733, 0.691367, 0.303900]]),
}  # fmt: skip


def lab(colour, deficiency):
    rgb = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    linear = np.clip(DEFICIENCIES[deficiency] @ linear, 0, 1)
    to_xyz = np.array(
        [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    )
    xyz = to_xyz @ linear / np.array([0.9505, 1.0, 1.089])
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("deficiency", DEFICIENCIES)
def test_no_two_methods_look_alike(theme, deficiency):
    look = style.styles((method, method) for method in METHODS)
    assert len({s.marker for s in look.values()}) == len(METHODS)
    places = [lab(getattr(s, theme), deficiency) for s in look.values()]
    least = min(np.linalg.norm(a - b) for i, a in enumerate(places) for b in places[:i])
    assert least > 25.0, least


def test_the_measure_of_likeness_sees_red_and_green_draw_together():
    def apart(deficiency):
        return np.linalg.norm(lab("#d62728", deficiency) - lab("#2ca02c", deficiency))

    assert apart("none") > 100
    assert apart("deuteranopia") < 50


def test_every_method_keeps_its_colour():
    alone = style.styles([("varmixup", "varmixup")])["varmixup"]
    among = style.styles([("mine", "mine"), ("erm", "erm"), ("varmixup", "varmixup"),
                          ("varmixup (b=1)", "varmixup")])  # fmt: skip
    assert among["varmixup"] == alone
    assert len({s.light for s in among.values()}) == 4


def test_a_users_matplotlibrc_changes_nothing():
    def drawn():
        with style.panel("α_1 $x$") as (figure, axes):
            axes.plot([0, 1], [0, 1])
        return style.svg(figure, "a line")

    usual = drawn()
    theirs = {"text.usetex": True, "savefig.bbox": "tight", "axes.grid.axis": "x", "font.size": 30}
    with matplotlib.rc_context(theirs):
        assert drawn() == usual
        assert matplotlib.rcParams["text.usetex"]  # and their settings are theirs again
