"""The page: whole, self-contained, escaped, sparse where data are; the pictures of a single run."""

import re

import numpy as np
import pytest
from PIL import Image
from report_runs import Page, make_run

from varmixup_jax import report
from varmixup_jax.report import gallery, series, style
from varmixup_jax.report.__main__ import main
from varmixup_jax.report.measures import board
from varmixup_jax.report.rows import read_run, read_runs

SECTIONS = [
    "Results", "Measures side by side", "Under corruption", "Calibration and linearity",
    "What the VAE does", "Training", "One image under every corruption", "Configurations", "Runs",
]  # fmt: skip


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    """A report of two methods with all there can be, one of them failed once."""
    root = tmp_path_factory.mktemp("sweep")
    make_run(root, "erm", 0, artifacts=True)
    make_run(root, "varmixup", 0, shift=0.02, artifacts=True, config={"clean_weight": 0.5})
    make_run(root, "varmixup", 1, shift=0.03, artifacts=True, config={"clean_weight": 0.5})
    make_run(root, "varmixup", 2, status="failed", shift=9.0, config={"clean_weight": 0.5})
    return report.write([root], root / "out", baseline="erm-cifar10-0").read_text()


def test_the_page_is_whole_and_needs_nothing_else(full):
    page = Page(full)
    assert page.headings == SECTIONS
    addresses = [v for name, v in page.attributes if name in ("src", "href", "xlink:href")]
    ids = [value for name, value in page.attributes if name == "id"]
    assert addresses
    for address in addresses:
        assert address.startswith(("data:image/png;base64,", "#"))
    assert not {"script", "link", "iframe"} & page.tags
    assert "@import" not in full
    assert not re.search(r"url\((?!#)", full)
    assert {a[1:] for a in addresses if a.startswith("#")} <= set(ids)
    assert set(re.findall(r"url\(#([^)]*)\)", full)) <= set(ids)
    sections = [name for name in ids if not re.match("g[0-9a-f]{8}-", name)]
    assert len(set(sections)) == len(sections) == len(SECTIONS)


def test_the_page_tells_of_failed_runs_and_never_averages_them(full):
    assert "4 runs of 2 methods (3 done, 1 failed: listed below, in no mean)" in full
    assert "varmixup-cifar10-2" in full
    assert "failed: loss is nan" in full
    assert "92.50 ± 0.71" in full
    assert "clean_weight" in full
    assert "0123456789ab-dirty" in full
    assert "resnet18, width 64, 10 epochs, batch 128, on 8 x TPU v4" in full


def test_the_page_follows_the_theme(full):
    assert "prefers-color-scheme: dark" in full
    assert 'name="viewport"' in full
    charts = re.findall(r"<svg.*?</svg>", full, flags=re.S)
    assert len(charts) > 20
    for light in style.colours():
        assert f"--{light[1:]}:{light};" in full
        assert not any(light in chart for chart in charts)


def test_a_sparse_run_has_a_sparse_page(tmp_path):
    path = make_run(tmp_path, "erm", corruptions=(), dataset="digits", metrics=1)
    (path / "metrics.jsonl").unlink()
    text = report.write([path], tmp_path / "out").read_text()
    expected = ["Results", "Calibration and linearity", "Configurations", "Runs"]
    assert Page(text).headings == expected
    assert "Signed calibration gap" not in text  # one point is no curve
    assert "Paper:" not in text
    assert report.write([path], tmp_path / "again").read_text() == text


def test_only_failed_runs_still_make_a_page(tmp_path):
    make_run(tmp_path, "erm", status="failed")
    text = report.write([tmp_path], tmp_path / "out").read_text()
    assert Page(text).headings == ["Configurations", "Runs"]
    assert "0 done, 1 failed" in text


def test_the_command_writes_page_and_table(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = make_run(tmp_path, corruptions=(), metrics=2)
    assert main([str(path)]) == 0
    assert capsys.readouterr().out.strip() == "report/report.html"
    assert sorted(p.name for p in (tmp_path / "report").iterdir()) == ["report.html", "report.md"]


def test_pictures_of_one_run(tmp_path):
    path = make_run(tmp_path, "iat", artifacts=True)
    written = report.pictures(path)
    assert [p.stem for p in written] == [
        "reconstructions", "prior_samples", "gaussian_samples", "latent_grid", "pixel_grid",
        "corruption_sheet",
    ]  # fmt: skip
    assert {p.parent for p in written} == {path / "pictures"}
    for picture in written:
        with Image.open(picture) as image:
            assert min(image.size) > 100
            assert len(set(image.convert("L").tobytes())) > 2
    assert report.pictures(make_run(tmp_path, status="running", metrics=2)) == []


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("side", "factor"), [(8, 8), (28, 2), (32, 2), (64, 1)])
def test_sheets_enlarge_pixels_and_nothing_else(side, factor, channels):
    images = np.random.default_rng(0).integers(0, 256, (2, 3, side, side, channels), np.uint8)
    canvas = gallery.sheet(images)
    step = factor * side + gallery.GAP
    assert canvas.shape == (2 * step - gallery.GAP, 3 * step - gallery.GAP, 4)
    tile = canvas[step : step + factor * side, 2 * step :]
    for corner in (0, factor - 1):  # every pixel of a block is the pixel it came from
        np.testing.assert_array_equal(
            tile[corner::factor, corner::factor, :3], np.broadcast_to(images[1, 2], (side, side, 3))
        )
    assert np.all(canvas[factor * side : step, :, 3] == 0)


def test_reliability_pools_as_if_the_seeds_were_one():
    rng = np.random.default_rng(0)
    draws = [rng.uniform(size=(2, n)) for n in (400, 1000)]
    parts = [(confidence, other < confidence**2) for confidence, other in draws]
    bins = [binned(*part) for part in parts]
    pooled = series.reliability(bins, "reliability")
    together = binned(*(np.concatenate(p) for p in zip(*parts, strict=True)))
    for name in ("count", "confidence", "accuracy"):
        np.testing.assert_allclose(getattr(pooled, name), together[f"reliability_{name}"])
    plain = np.mean([b["reliability_accuracy"] for b in bins], axis=0)
    assert np.abs(plain - pooled.accuracy).max() > 1e-3  # not a mean over seeds


def binned(confidence, right):
    place = np.minimum((confidence * 15).astype(int), 14)
    count = np.bincount(place, minlength=15).astype(float)
    return {
        "reliability_count": count,
        "reliability_confidence": np.bincount(place, confidence, 15) / count,
        "reliability_accuracy": np.bincount(place, right, 15) / count,
    }


def test_training_curves_average_seeds_and_stay_short(tmp_path):
    for seed in (0, 1):
        make_run(tmp_path, seed=seed, shift=0.1 * seed, corruptions=(), metrics=900)
    (group,) = board(read_runs([tmp_path]), "cifar10").groups
    curve = series.training_curve("accuracy", group)
    assert len(curve) <= series.MOST_POINTS
    rise = 1 - np.exp(-curve.index / 200)
    np.testing.assert_allclose(curve["mean"], 0.85 * rise, atol=2e-3)
    np.testing.assert_allclose(curve["std"], 0.1 / np.sqrt(2) * rise, atol=2e-3)
    assert series.training_curve("absent", group) is None


def test_curves_over_severity_and_radius(tmp_path):
    (group,) = board([read_run(make_run(tmp_path))], "cifar10").groups
    gap = series.gap_curve(group)
    assert gap.index.tolist() == [0, 1, 2, 3, 4, 5]
    drops = [0.01 * s * np.mean([1 + i % 4 for i in range(15)]) for s in range(6)]
    np.testing.assert_allclose(gap["mean"], 0.03 + np.array(drops))
    linearity = series.linearity_curve(group)
    assert linearity.index.tolist() == [2, 4, 6, 8]
    np.testing.assert_allclose(linearity["mean"], [0.04, 0.16, 0.36, 0.64])
