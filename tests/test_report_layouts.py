"""The tables of a README, means by kind of corruption, radii of any size, and the summary picture."""

import re

import numpy as np
import pytest
from PIL import Image
from report_runs import edit_rows, images, make_run

from varmixup_jax import report
from varmixup_jax.metric_names import linearity_name, linearity_radius
from varmixup_jax.report import gallery, overview
from varmixup_jax.report.__main__ import main
from varmixup_jax.report.markdown import markers
from varmixup_jax.report.measures import board
from varmixup_jax.report.names import CORRUPTION_FAMILIES
from varmixup_jax.report.rows import read_run, read_runs
from varmixup_jax.report.series import linearity_curve
from varmixup_jax.report.tables import columns, paper_and_beyond, results


def rename_radii(path, names):
    """Gives the linearity error of each radius in `names` another name, and leaves the others out."""

    def change(line):
        found = re.fullmatch(r"local_linearity_error_(\d)/255", line["metric"])
        if found is None:
            return line
        return line | {"metric": names[found[1]]} if found[1] in names else None

    edit_rows(path, change)


HALF = {"methods": {"varmixup": {"clean_weight": 0.5}}}


def titles(text):
    return [line.strip("*").split(": ")[-1] for line in text.splitlines() if line.startswith("**")]


def headings(grid):
    return [re.sub("\xa0.*", "", heading) for heading in grid.headings]


def test_the_papers_methods_and_what_goes_beyond(tmp_path):
    make_run(tmp_path, "erm")
    make_run(tmp_path, "varmixup")
    make_run(tmp_path, "varmixup", config=HALF, shift=0.02)
    make_run(tmp_path, "augmix", shift=0.01)
    paper, beyond = paper_and_beyond(board(read_runs([tmp_path]), "cifar10"))
    assert [cells[0].text for cells in paper.rows] == ["erm", "varmixup"]
    assert [cells[0].text for cells in beyond.rows] == ["varmixup · clean 0.5", "augmix"]
    ours = ["Method", "Clean acc. (%)", "Corrupted acc. (%)", "ECE clean (%)", "ECE corrupted (%)",
            "Lin. error at 8/255 (nats)"]  # fmt: skip
    assert [h for h in headings(paper) if not h.startswith("Paper: ")] == ours
    assert len(headings(paper)) == len(ours) + 2
    assert headings(beyond) == ours
    assert paper.rows[1][4].text == "82.57 ± 0.42"
    assert paper.remarks == ()
    assert sum(remark.startswith("Paper: as printed") for remark in beyond.remarks) == 1
    assert "One seed each; the best of a column in bold." in beyond.remarks


def test_the_papers_numbers_are_not_beside_other_settings(tmp_path):
    make_run(tmp_path, "varmixup", config=HALF)
    only = results(board(read_runs([tmp_path]), "cifar10"))
    assert not any(heading.startswith("Paper") for heading in only.headings)
    make_run(tmp_path, "varmixup")
    both = results(board(read_runs([tmp_path]), "cifar10"))
    place = headings(both).index("Paper: corrupted acc. (%)")
    assert [cells[place].text for cells in both.rows] == ["82.57 ± 0.42", "–"]


def test_means_by_kind_of_corruption(tmp_path):
    rng, values = np.random.default_rng(0), {}

    def change(line):
        if line["corruption"] != "none" and line["metric"] == "accuracy":
            line["value"] = rng.uniform(0.2, 0.9)
            values.setdefault(line["corruption"], []).append(line["value"])
        return line

    edit_rows(make_run(tmp_path), change)
    grid = results(board(read_runs([tmp_path]), "cifar10"), "kinds")
    texts = dict(zip(headings(grid), [cell.text for cell in grid.rows[0]], strict=True))
    for kind in ("noise", "blur", "weather", "digital"):
        mean = np.mean([values[name] for name in CORRUPTION_FAMILIES[kind]])
        assert texts[f"{kind.capitalize()} (%)"] == f"{100 * mean:.2f}"
    assert not any("extra" in heading.lower() or "Paper" in heading for heading in texts)
    assert "Noise (%)" not in headings(results(board(read_runs([tmp_path]), "cifar10")))


@pytest.mark.parametrize("eps", [2 / 255, 8 / 255, 0.5 / 255, 0.03, 0.031373, 1e-7, 1 / 3, 0.0])
def test_a_radius_is_read_as_it_was_written(eps):
    found = linearity_radius(linearity_name(eps))
    assert found == pytest.approx(255 * eps, rel=1e-3)
    assert linearity_name(found / 255) == linearity_name(eps)
    for name in ("accuracy", *(f"local_linearity_error_{x}/255" for x in ("", "1e+999", "nan"))):
        assert linearity_radius(name) is None


def test_a_radius_that_is_no_whole_number_is_shown(tmp_path):
    path = make_run(tmp_path, corruptions=())
    rename_radii(path, {"2": linearity_name(0.01), "6": linearity_name(0.03)})
    found = board([read_run(path)], "cifar10")
    (column,) = [c for c in columns(found) if c.key == "linearity"]
    assert column.title == "Lin. error at 7.65/255"
    assert found.groups[0].stat(*column.number).mean == pytest.approx(0.36)
    assert linearity_curve(found.groups[0]).index.tolist() == [2.55, 7.65]
    assert "Lin. error at 7.65/255 (nats)" in headings(results(found))


def test_eight_is_the_radius_of_the_table_where_it_was_measured(tmp_path):
    path = make_run(tmp_path, corruptions=())
    rename_radii(path, {"4": "local_linearity_error_8.00011/255", "8": linearity_name(16 / 255)})
    found = board([read_run(path)], "cifar10")
    (column,) = [c for c in columns(found) if c.key == "linearity"]
    assert column.title == "Lin. error at 8/255"
    assert found.groups[0].stat(*column.number).mean == pytest.approx(0.16)


@pytest.mark.parametrize(
    ("error", "text"), [(0.01234, "0.0123"), (3.14159, "3.14"), (20.944, "20.94")]
)
def test_large_errors_have_fewer_decimals(tmp_path, error, text):
    path = make_run(tmp_path, corruptions=())
    ours = linearity_name(8 / 255)
    edit_rows(path, lambda line: line | {"value": error} if line["metric"] == ours else line)
    grid = results(board([read_run(path)], "cifar10"))
    assert grid.rows[0][headings(grid).index("Lin. error at 8/255 (nats)")].text == text


def test_blocks_of_a_page_are_filled_one_by_one(tmp_path):
    make_run(tmp_path / "runs")
    page = tmp_path / "page.md"
    (a, b), (c, d) = markers("first"), markers("second-2")
    page.write_text(f"{a}\n{b}\nbetween\n{c}\n{d}\n")
    line = [str(tmp_path / "runs"), "--readme", str(page)]
    assert main([*line, "--block", "second-2", "--tables", "kinds"]) == 0
    assert page.read_text().startswith(f"{a}\n{b}\nbetween\n{c}\n**CIFAR-10, test set**")
    assert main([*line, "--block", "first"]) == 0
    assert titles(page.read_text()) == ["the paper's methods", "CIFAR-10, test set"]
    before = page.read_text()
    assert main([*line, "--block", "third"]) == 2
    assert page.read_text() == before
    with pytest.raises(ValueError, match=r"layout = 'wide': must be one of full, short, kinds"):
        report.update_readme([tmp_path / "runs"], page, layout="wide")


def drawn_run(root):
    path = make_run(root, "varmixup", artifacts=True)
    (path / "pictures").mkdir()
    pairs = np.broadcast_to(images()[:6, None], (6, 9, 8, 8, 1))
    for name in overview.GRIDS:
        (path / "pictures" / f"{name}.png").write_bytes(gallery.encode(gallery.sheet(pairs)))
    return path, gallery.sheet(pairs)


def test_the_summary_picture_shows_rows_and_unchanged_pixels(tmp_path, capsys):
    make_run(tmp_path / "runs", "erm")
    _, sheet = drawn_run(tmp_path / "runs")
    out = tmp_path / "images" / "a.png"
    assert main([str(tmp_path / "runs"), "--picture", str(out)]) == 0
    assert capsys.readouterr().out.split() == [str(out)]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["images", "runs"]
    with Image.open(out) as image:
        picture = np.asarray(image)
    tall = overview.PAIRS * 67 - gallery.GAP
    place = overview.CHART + overview.MARGIN
    shown = picture[overview.CAPTION :, place : place + sheet.shape[1]]
    solid = sheet[:tall, :, 3] == 255
    np.testing.assert_array_equal(shown[:tall][solid], sheet[:tall][solid][:, :3])
    assert len(np.unique(picture[:, : overview.CHART].reshape(-1, 3), axis=0)) > 20


def test_without_pictures_it_is_the_chart_alone(tmp_path):
    make_run(tmp_path, "erm")
    report.summary_picture([tmp_path], tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as image:
        assert image.width == overview.CHART


def test_what_cannot_be_drawn_is_refused(tmp_path, capsys):
    plain = make_run(tmp_path / "plain", corruptions=())
    assert main([str(plain), "--picture", str(tmp_path / "a.png")]) == 2
    assert "none has all of the 15 × 5 corruptions" in capsys.readouterr().err
    failed = make_run(tmp_path / "failed", status="failed")
    assert main([str(failed), "--picture", str(tmp_path / "a.png")]) == 2
    assert "none has all of the 15 × 5 corruptions" in capsys.readouterr().err
    path, _ = drawn_run(tmp_path / "damaged")
    (path / "pictures" / "pixel_grid.png").write_bytes(b"\x89PNG")
    assert main([str(path), "--picture", str(tmp_path / "a.png")]) == 2
    assert "pixel_grid.png: not a readable picture" in capsys.readouterr().err
    assert not (tmp_path / "a.png").exists()
