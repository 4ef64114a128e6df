"""The pictures of a single run, as PNG files beside its results."""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure

from varmixup_jax.report import gallery, sections
from varmixup_jax.report.measures import board, group
from varmixup_jax.report.rows import read_run
from varmixup_jax.report.style import png, styles


def pictures(run_dir: Path) -> list[Path]:
    """Draws what a run directory holds into `run_dir/pictures/`.

    Training curves are drawn of any run, all else of whatever its files have.

    Args:
      run_dir: a run directory.

    Returns:
      The PNG files written, in the order of the report.

    Raises:
      ValueError: a file of the run is missing or does not parse.
    """
    run = read_run(run_dir)
    arrays = run.artifacts()
    gallery.check_images(arrays, run.path / "artifacts.npz")
    found = board([run], run.dataset)
    alone = group([run], run.name, found)
    look = {run.name: styles([(run.method, run.method)])[run.method]}
    scene = sections.Scene(found._replace(groups=(alone,)), look, {str(run.path): arrays})
    drawn: list[tuple[str, Figure | bytes]] = [
        (shown.name, gallery.encode(shown.canvas)) for shown in sections.vae_pictures(arrays)
    ]
    for charts in (
        sections.training_charts, sections.reliability_charts, sections.curve_charts,
        sections.heat_maps,
    ):  # fmt: skip
        drawn += [(chart.name, chart.figure) for chart in charts(scene)]
    if "corruption_sheet" in arrays:
        images, names = arrays["corruption_sheet"], arrays["corruption_names"]
        drawn.append(("corruption_sheet", gallery.corruption_figure(images, names)))
    place = run.path / "pictures"
    written = []
    for name, content in drawn:
        place.mkdir(exist_ok=True)
        written.append(place / f"{name}.png")
        written[-1].write_bytes(png(content) if isinstance(content, Figure) else content)
    return written
