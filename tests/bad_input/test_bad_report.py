"""The report of runs that are missing, empty, half-written or damaged."""

import json
import shutil

import numpy as np
import pytest
import report_runs
from damaged_runs import CONFIG, DAMAGES, METRICS, RESULTS, SUMMARY, torn
from hypothesis import given, settings
from hypothesis import strategies as st
from refusing import accepted_or_refused, bomb_array, command_refused, misspoken, refused, write

from varmixup_jax import report
from varmixup_jax.report import __main__ as command
from varmixup_jax.report.rows import read_run


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    root = tmp_path_factory.mktemp("made")
    return report_runs.make_run(root, metrics=3, corruptions=("fog",))


@pytest.fixture
def run(made, tmp_path):
    return shutil.copytree(made, tmp_path / "runs" / "one")


@pytest.fixture
def refuses(run, tmp_path, capsys, monkeypatch):
    """The report of all runs there, and of what is named, is refused with these names."""
    monkeypatch.chdir(tmp_path)

    def check(*names, words=("runs", "--out", "out")):
        command_refused(command.main, words, capsys, *names, untouched=[tmp_path])
        assert not (tmp_path / "exploded").exists()

    return check


@pytest.mark.parametrize("kind", DAMAGES)
def test_a_damaged_run(kind, run, refuses):
    damage, *names = DAMAGES[kind]
    damage(run)
    refuses(*names)


ARRAYS = {
    "originals": np.zeros((4, 8, 8, 1)),
    "reconstructions": np.zeros((4, 8, 8), np.uint8),
    "prior_samples": np.zeros((0, 8, 8, 1), np.uint8),
    "latent_grid": np.zeros((2, 3, 8, 8, 2), np.uint8),
    "pixel_grid": np.full((2, 3, 8, 8, 1), "a"),
    "corruption_sheet": np.zeros((2, 5, 8, 8, 3), np.uint8),
    "reliability_count": np.full(15, "a"),
    "reliability_corrupted_confidence": np.full((15, 2), 0.5),
    "reliability_accuracy": np.full(14, 0.5),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_artifacts_of_another_kind(name, run, refuses):
    np.savez(run / "artifacts.npz", **report_runs.arrays() | {name: ARRAYS[name]})
    refuses("artifacts.npz", {"corruption_sheet": "corruption_names"}.get(name, name))


@pytest.mark.parametrize("name", ["originals", "corruption_names", "reliability_count", "other"])
def test_a_pickle_is_never_loaded(name, run, refuses):
    np.savez(run / "artifacts.npz", **{name: bomb_array("exploded")})
    refuses("artifacts.npz")


def test_a_torn_last_line_of_a_run_that_is_not_done_is_left_out(run, undrawn, tmp_path):
    torn(RESULTS, done=False)(run)
    torn(METRICS)(run)
    assert len(read_run(run).rows) == 29
    report.write([run], tmp_path / "out")


PLACES = {
    "none": ("none", "not a directory"),
    f"runs/one/{SUMMARY}": ("not a directory",),
    "empty": ("empty", "no run directory"),
    "foreign/checkpoints/3": ("no run directory",),
    ".git": (".git", "no run directory"),
}


@pytest.mark.parametrize("place", PLACES)
def test_places_without_a_run(place, refuses, tmp_path):
    if not (tmp_path / place).exists() and place != "none":
        (tmp_path / place).mkdir(parents=True)
    refuses(*PLACES[place], words=["runs/one", place, "--out", "out"])


def test_what_is_foreign_in_a_run_does_no_harm(run, undrawn, tmp_path):
    (tmp_path / "runs" / "again").symlink_to(tmp_path / "runs")  # it holds itself
    for name in ("checkpoints/notes.txt", "checkpoints/abc/x", "pictures/summary.json", "core"):
        write(name, "{")(run)
    write("config.json.tmp", b"\xff")(run)
    report.write([tmp_path / "runs"], tmp_path / "out")


def test_words_that_do_not_fit(run, undrawn, tmp_path, refuses):
    names = ("baseline = 'erm-cifar10-1'", "did you mean erm-cifar10-0")
    refuses(*names, words=["runs", "--out", "out", "--baseline", "erm-cifar10-1"])
    write("out", "mine")(tmp_path)
    for out in ("out", "out/below"):
        refuses("out", words=["runs", "--out", out])
    with refused("runs = []", untouched=[tmp_path]):
        report.write([], tmp_path / "out")


BEGIN, END = "<!-- results:begin -->\n", "<!-- results:end -->\n"
READMES = {
    "no_markers": "# title\n", "one_marker": BEGIN, "turned": END + BEGIN, "twice": 2 * (BEGIN + END),
}  # fmt: skip
READMES = {kind: (text, "exactly once") for kind, text in READMES.items()}
READMES |= {"none": (None, "missing"), "bytes": (b"\xff" + (BEGIN + END).encode(), "UTF-8")}


@pytest.mark.parametrize("kind", READMES)
def test_readmes(kind, tmp_path, refuses):
    content, message = READMES[kind]
    if content is not None:
        write("README.md", content)(tmp_path)
    refuses("README.md", message, words=["runs", "--readme", "README.md"])


test_words_that_are_not_understood = misspoken(
    command.main, "", "a --ot x", "a --out", "--baseline"
)

ODD = [10**30, -1, 2**70, "done", "\x00", "a" * 1000, "<b>", "$x$"]
JSON = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.sampled_from(ODD)
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=5,
)  # fmt: skip
SUMMARY_FIELDS = """run method seed dataset status wall_seconds steps epochs checkpoint git vae new
    params_sha256 versions device parameters command error"""
ROW = report_runs.row(dict.fromkeys(("run", "method", "seed", "dataset")), "m", 0)
FIELDS = {
    SUMMARY: SUMMARY_FIELDS.split(),
    CONFIG: ["model", "batch_size", "data", "epochs", "method", "seeds", "new"],
    RESULTS: [*ROW, "new"],
    METRICS: ["step", "epoch", "loss", "accuracy", "learning_rate", "val_accuracy", "new"],
}


@settings(max_examples=60)
@given(file=st.sampled_from([SUMMARY, CONFIG, RESULTS, METRICS]), data=st.data(), value=JSON)
def test_any_json_in_any_field_is_shown_or_refused(
    file, data, value, made, undrawn, tmp_path_factory
):
    run = shutil.copytree(made, tmp_path_factory.mktemp("any") / "run")
    name = data.draw(st.sampled_from(FIELDS[file]))
    text = (run / file).read_text()
    first, *rest = text.split("\n", 1) if "jsonl" in file else [text]
    (run / file).write_text("\n".join([json.dumps(json.loads(first) | {name: value}), *rest]))
    accepted_or_refused(lambda: report.write([run], run / "out"), run, file)


@settings(max_examples=100)
@given(data=st.data())
def test_damaged_bytes_are_read_or_refused(data, made, tmp_path_factory):
    run = shutil.copytree(made, tmp_path_factory.mktemp("bytes") / "run")
    file = run / data.draw(st.sampled_from([SUMMARY, CONFIG, RESULTS, METRICS]))
    content = bytearray(file.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    file.write_bytes(bytes(content[: data.draw(st.integers(0, len(content)))]))
    accepted_or_refused(lambda: read_run(run), file)
