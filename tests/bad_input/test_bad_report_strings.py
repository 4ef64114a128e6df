"""Markup in every string of a run: the page shows it and never acts on it."""

import json
import re

import numpy as np
import pytest
import report_runs
from markupsafe import escape
from report_runs import Page

from varmixup_jax import report

PAYLOADS = {
    "several": "<script>alert('{0}')</script> <!-- {0} --> <![CDATA[ <script> ]]> <svg onload=x> "
    "&lt;script&gt;{0} &#60;script&#62; &amp; "
    "\\1 \\g<0> {0} id=\"x\" url(#x) #2a78d6 <g id='a'> <metadata> $\\frac{{{0}}} $<script>$x^{{$",
    "closing": "</title></style></pre></svg></td><script src=x>{0}</script>",
    "quotes": "\" onmouseover=\"alert('{0}')\" x=' onload='alert({0})' <img src=x onerror=alert(1)>",
    "markdown": "[{0}](javascript:x) `<script>` | **x** <a href=javascript:x>",
}
SUMMARY = ["run", "method", "dataset", "checkpoint", "git", "device", "command"]
FIELDS = [*SUMMARY, "version", "vae", "error", "config", "note", "params_sha256"]


def injected(root, payload):
    """A finished and a failed run in which every string is a payload with the name of its field."""

    def text(field):
        return payload.format(field)

    drawn = "alert" in payload  # pictures take a second, and only their captions have strings
    root = root / ("slashes" if "/" in payload else payload.format("run"))
    for status, seed in (("done", 0), ("done", 1), ("failed", 2)):
        path = report_runs.make_run(
            root, seed=seed, status=status, metrics=3, corruptions=("fog",), artifacts=True
        )
        summary = json.loads((path / "summary.json").read_text())
        summary |= {name: text(name) for name in SUMMARY} | {"params_sha256": text("sha")}
        summary |= {"versions": {text("version"): text("version")}, "error": text("error")}
        summary["vae"] = {"key": text("vae"), "psnr": text("psnr"), "wall_seconds": None}
        (path / "summary.json").write_text(json.dumps(summary))
        config = json.loads((path / "config.json").read_text())
        config |= {text("config"): text("config") + str(seed), "model": {"name": text("model")}}
        config |= {"batch_size": text("batch"), "optim": [text("list")]}
        (path / "config.json").write_text(json.dumps(config))
        arrays = report_runs.arrays()
        names = [text(f"corruption{row}") for row in range(len(arrays["corruption_names"]))]
        arrays |= {"corruption_names": np.array(names)}
        if not drawn:
            arrays = {name: arrays[name] for name in ("originals", "reconstructions")}
        np.savez(path / "artifacts.npz", **arrays)
        if status == "done":
            rows = [json.loads(line) for line in (path / "results.jsonl").read_text().splitlines()]
            own = {"split": text("split"), text("note"): text("note")}
            for row in rows:
                row |= {name: text(name) for name in ("run", "method", "dataset")} | own
            rows.append(rows[0] | {"metric": text("metric")})
            (path / "results.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return root


def written(place, payload):
    """The page and the table of runs with that payload everywhere."""
    report.write([injected(place, payload)], place / "out")
    return [(place / "out" / name).read_text() for name in ("report.html", "report.md")]


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    """The tags and attributes of a page without any payload."""
    page = Page(written(tmp_path_factory.mktemp("clean"), "alert {}")[0])
    return page.tags, {name for name, _ in page.attributes}


@pytest.mark.parametrize("kind", PAYLOADS)
def test_every_string_is_shown_and_none_acts(kind, clean, tmp_path, request):
    if kind != "several":  # figures take seconds
        request.getfixturevalue("undrawn")
    text = PAYLOADS[kind].format("x")
    assert not set(escape(text)) & set("<>\"'")
    assert Page(f'<p title="{escape(text)}">{escape(text)}</p>').attributes == [("title", text)]
    page, table = written(tmp_path, PAYLOADS[kind])
    assert "<script" not in page.lower()
    assert "<" not in table
    assert "](" not in table.replace("\\]", "").replace("]\\(", "")
    found = Page(page)
    assert found.tags <= clean[0] - {"script"}
    assert {name for name, _ in found.attributes} <= clean[1]
    for name, value in found.attributes:
        assert not name.startswith("on")
        assert name not in ("href", "xlink:href") or value.startswith("#")
        assert name != "src" or value.startswith("data:image/png;base64,")
        assert name != "id" or re.fullmatch(r"[a-z][\w-]*", value)
    assert any(name == "id" for name, _ in found.attributes)
    shown = " ".join(" ".join(found.shown).split())
    for field in FIELDS:
        text = PAYLOADS[kind].format("sha" if field == "params_sha256" else field)
        if field in ("git", "params_sha256"):  # cut to the first digits
            text = text[:12].strip()
        needles = (" ".join(text.split()), " ".join(json.dumps(text)[1:-1].split()))
        assert any(needle in shown for needle in needles), f"{text!r} is not shown"


NAMES = ["方法", "méthode", "🙂", "a" * 300, "עברית"]


def test_names_of_any_script_are_shown(tmp_path):
    path = report_runs.make_run(tmp_path, metrics=3, corruptions=())
    name = " ".join(NAMES)
    for file in ("summary.json", "results.jsonl"):
        lines = map(json.loads, (path / file).read_text().splitlines())
        text = "".join(json.dumps(line | {"method": name}) + "\n" for line in lines)
        (path / file).write_text(text)
    report.write([path], tmp_path / "out")
    assert name in (tmp_path / "out" / "report.html").read_text()


def test_a_name_that_turns_the_text_around_is_refused(tmp_path):
    path = report_runs.make_run(tmp_path, metrics=3, corruptions=())
    summary = json.loads((path / "summary.json").read_text()) | {"run": "x\u202ey"}
    (path / "summary.json").write_text(json.dumps(summary))
    with pytest.raises(ValueError, match="printable"):
        report.write([path], tmp_path / "out")


def test_half_a_character_in_a_configuration_is_written_as_its_escape(undrawn, tmp_path):
    path = report_runs.make_run(tmp_path, metrics=3, corruptions=(), config={"x": "\ud800"})
    report.write([path], tmp_path / "out")
    assert "\\ud800" in (tmp_path / "out" / "report.html").read_text()
