"""The report of runs that are missing, empty, half-written or damaged."""

import shutil

import numpy as np
import pytest
import report_runs
from damaged_runs import CONFIG, DAMAGES, METRICS, RESULTS, SUMMARY, field, torn
from damages import bomb_array, npz_bytes, spoiled, write
from hypothesis import given, settings
from hypothesis import strategies as st
from refusing import accepted_or_refused, misspoken, refused, rejected

from varmixup_jax import report
from varmixup_jax.report.__main__ import main
from varmixup_jax.report.rows import read_run

pytestmark = pytest.mark.usefixtures("undrawn")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    root = tmp_path_factory.mktemp("made")
    return report_runs.make_run(root, metrics=3, corruptions=("fog",))


@pytest.fixture
def root(made, tmp_path):
    """One whole run in `runs/one`."""
    return shutil.copytree(made, tmp_path / "runs" / "one")


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


ARTIFACTS = {name: report_runs.arrays() | {name: array} for name, array in ARRAYS.items()}
PICKLES = ("originals", "corruption_names", "reliability_count", "other")
ARTIFACTS |= {f"pickle_{name}": {name: bomb_array("exploded")} for name in PICKLES}
NAMED = {name: name for name in ARRAYS} | {"corruption_sheet": "corruption_original"}
ARTIFACTS = {
    kind: (write("artifacts.npz", npz_bytes(**arrays)), "artifacts.npz", NAMED.get(kind, ""))
    for kind, arrays in ARTIFACTS.items()
}
test_a_damaged_run = rejected(main, DAMAGES | ARTIFACTS, "runs --out out")


def test_a_torn_last_line_of_a_run_that_is_not_done_is_left_out(root, tmp_path):
    torn(RESULTS, done=False)(root)
    torn(METRICS)(root)
    assert len(read_run(root).rows) == 29
    report.write([root], tmp_path / "out")


PLACES = {
    "none": ("none", "not a directory"),
    f"runs/one/{SUMMARY}": ("not a directory",),
    "empty": ("empty", "no run directory"),
    "foreign/checkpoints/3": ("no run directory",),
}


@pytest.mark.parametrize("place", PLACES)
def test_places_without_a_run(place, root, refuses, tmp_path):
    if place not in ("none", f"runs/one/{SUMMARY}"):
        (tmp_path / place).mkdir(parents=True)
    refuses(main, ["runs/one", place, "--out", "out"], *PLACES[place])


def test_what_is_foreign_in_a_run_does_no_harm(root, tmp_path):
    (tmp_path / "runs" / "again").symlink_to(tmp_path / "runs")  # it holds itself
    for name in ("checkpoints/notes.txt", "checkpoints/abc/x", "pictures/summary.json", "core"):
        write(name, "{")(root)
    write("config.json.tmp", b"\xff")(root)
    report.write([tmp_path / "runs"], tmp_path / "out")


TAKEN = write("../../out", "mine")  # as seen from the run
WORDS = {
    "runs --out out --baseline erm-cifar10-1": (
        lambda root: None, "baseline = 'erm-cifar10-1'", "did you mean erm-cifar10-0",
    ),
    "runs --out out": (TAKEN, "out"),
}  # fmt: skip
test_words_that_do_not_fit = rejected(main, WORDS)


def test_no_runs_at_all(tmp_path):
    with refused("runs = []", untouched=[tmp_path]):
        report.write([], tmp_path / "out")


BEGIN, END = "<!-- results:begin -->\n", "<!-- results:end -->\n"
READMES = {"one_marker": BEGIN, "turned": END + BEGIN, "twice": 2 * (BEGIN + END)}
READMES = {kind: (text, "exactly once") for kind, text in READMES.items()}
READMES |= {"absent": (None, "missing"), "bytes": (b"\xff" + (BEGIN + END).encode(), "UTF-8")}


README = "../../README.md"  # as seen from the run
README_ROWS = {
    kind: (write(README, text) if text else lambda root: None, "README.md", message)
    for kind, (text, message) in READMES.items()
}
test_readmes = rejected(main, README_ROWS, "runs --readme README.md")
test_words_that_are_not_understood = misspoken(main, "", "a --ot x", "a --out", "--baseline")

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


@settings(max_examples=25)
@given(file=st.sampled_from([SUMMARY, CONFIG, RESULTS, METRICS]), data=st.data(), value=JSON)
def test_any_json_in_any_field_is_shown_or_refused(file, data, value, made, tmp_path_factory):
    run = shutil.copytree(made, tmp_path_factory.mktemp("any") / "run")
    name = data.draw(st.sampled_from(FIELDS[file]))
    field(file, name, value)(run)
    accepted_or_refused(lambda: report.write([run], run / "out"), run, file)


@settings(max_examples=100)
@given(data=st.data())
def test_damaged_bytes_are_read_or_refused(data, made, tmp_path_factory):
    run = shutil.copytree(made, tmp_path_factory.mktemp("bytes") / "run")
    file = run / data.draw(st.sampled_from([SUMMARY, CONFIG, RESULTS, METRICS]))
    file.write_bytes(data.draw(spoiled(file.read_bytes())))
    accepted_or_refused(lambda: read_run(run), file)
