"""Markup in every string of a run: the page shows it and never acts on it."""

import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
import report_runs

from varmixup_jax import report
from varmixup_jax.report.markup import escape, slug

PAYLOADS = {
    "script": "<script>alert('{}')</script>",
    "closing": "</title></style></pre></svg></td><script src=x>{}</script>",
    "quotes": "\" onmouseover=\"alert('{}')\" x='",
    "single": "' onload='alert({})' <img src=x onerror=alert(1)>",
    "comment": "<!-- {} --> <![CDATA[ <script> ]]> <svg onload=x>",
    "entities": "&lt;script&gt;{} &#60;script&#62; &amp;",
    "markdown": "[{}](javascript:x) `<script>` | **x** <a href=javascript:x>",
    "mathematics": "$\\frac{{{}}} $<script>$x^{{$",
    "patterns": "\\1 \\g<0> {} id=\"x\" url(#x) #2a78d6 <g id='a'> <metadata>",
}
SUMMARY = ["run", "method", "dataset", "checkpoint", "git", "device", "command"]
FIELDS = [*SUMMARY, "version", "vae", "error", "config", "note", "params_sha256"]


def injected(root, payload):
    """A finished and a failed run in which every string is a payload with the name of its field."""

    def text(field):
        return payload.format(field)

    drawn = "alert" in payload  # pictures take a second, and only their captions have strings
    root = root / slug(payload) if "/" in payload else root / payload.format("run")
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


class Page(HTMLParser):
    """What a browser would take the page for."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.tags, self.attributes, self.shown = set(), [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes += attrs

    def handle_data(self, data):
        self.shown.append(data)

    def handle_comment(self, data):
        raise AssertionError(f"a comment: {data!r}")

    def unknown_decl(self, data):
        raise AssertionError(f"a declaration: {data!r}")

    def handle_pi(self, data):
        raise AssertionError(f"an instruction: {data!r}")


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    """The tags and attributes of a page without any payload."""
    place = tmp_path_factory.mktemp("clean")
    report.write([injected(place, "alert {}")], place / "out")
    page = Page((place / "out" / "report.html").read_text())
    return page.tags, {name for name, _ in page.attributes}


@pytest.fixture(scope="module", params=PAYLOADS)
def written(request, tmp_path_factory):
    """The kind of payload, the page and the table with that payload everywhere."""
    place = tmp_path_factory.mktemp("injected")
    report.write([injected(place, PAYLOADS[request.param])], place / "out")
    files = [(place / "out" / name).read_text() for name in ("report.html", "report.md")]
    return request.param, *files


def test_the_page_has_only_its_own_tags_and_attributes(written, clean):
    _, page, _ = written
    found = Page(page)
    assert found.tags <= clean[0]
    assert {name for name, _ in found.attributes} <= clean[1]
    assert "script" not in found.tags
    assert "<script" not in page.lower()
    assert not any(name.startswith("on") for name, _ in found.attributes)


def test_every_link_stays_in_the_page(written):
    _, page, _ = written
    for name, value in Page(page).attributes:
        if name in ("href", "xlink:href"):
            assert value.startswith("#")
        if name == "src":
            assert value.startswith("data:image/png;base64,")


@pytest.mark.parametrize("field", FIELDS)
def test_the_string_itself_is_shown(field, written):
    kind, page, _ = written
    text = PAYLOADS[kind].format(field)
    found = Page(page)
    shown = " ".join(" ".join(found.shown).split())
    if field in ("git", "params_sha256"):  # cut to the first digits
        text = PAYLOADS[kind].format("git" if field == "git" else "sha")[:12].strip()
    for needle in (" ".join(text.split()), " ".join(json.dumps(text)[1:-1].split())):
        if needle in shown:
            return
    raise AssertionError(f"{text!r} is not shown")


def test_the_table_has_no_markup(written):
    _, _, table = written
    assert "<" not in table
    assert "](" not in table.replace("\\]", "").replace("]\\(", "")


def test_ids_are_words(written):
    _, page, _ = written
    ids = [value for name, value in Page(page).attributes if name == "id"]
    assert ids
    assert all(re.fullmatch(r"[a-z][\w-]*", value) for value in ids)


NAMES = ["方法", "méthode", "🙂", "a" * 300, "עברית", "x\u202ey"]


@pytest.mark.parametrize("name", NAMES[:5])
def test_names_of_any_script_are_shown(name, tmp_path):
    path = report_runs.make_run(tmp_path, metrics=3, corruptions=())
    for file in ("summary.json", "results.jsonl"):
        text = (path / file).read_text()
        lines = [json.loads(line) | {"method": name} for line in text.splitlines()]
        (path / file).write_text("".join(json.dumps(line) + "\n" for line in lines))
    report.write([path], tmp_path / "out")
    report.pictures(path)
    assert name in (tmp_path / "out" / "report.html").read_text()


def test_a_name_that_turns_the_text_around_is_refused(tmp_path):
    path = report_runs.make_run(tmp_path, metrics=3, corruptions=())
    summary = json.loads((path / "summary.json").read_text()) | {"run": NAMES[5]}
    (path / "summary.json").write_text(json.dumps(summary))
    with pytest.raises(ValueError, match="printable"):
        report.write([path], tmp_path / "out")


def test_half_a_character_in_a_configuration_is_written_as_its_escape(tmp_path):
    path = report_runs.make_run(tmp_path, metrics=3, corruptions=(), config={"x": "\ud800"})
    report.write([path], tmp_path / "out")
    assert "\\ud800" in (tmp_path / "out" / "report.html").read_text()


@pytest.mark.parametrize("kind", PAYLOADS)
def test_escaping(kind):
    text = PAYLOADS[kind].format("x")
    assert not set(escape(text)) & set("<>\"'")
    assert Page(f'<p title="{escape(text)}">{escape(text)}</p>').attributes == [("title", text)]
