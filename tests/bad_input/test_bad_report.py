"""The report of runs that are missing, empty, half-written or damaged."""

import json
import shutil

import numpy as np
import pytest
import report_runs
from damaged_runs import CONFIG, DAMAGES, METRICS, RESULTS, SUMMARY, torn
from hypothesis import given, settings
from hypothesis import strategies as st
from refusing import accepted_or_refused, bomb_array, command_refused, refused

from varmixup_jax import report
from varmixup_jax.report import __main__ as command
from varmixup_jax.report import markup
from varmixup_jax.report.rows import read_run


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    root = tmp_path_factory.mktemp("made")
    return report_runs.make_run(root, metrics=3, corruptions=("fog",))


@pytest.fixture
def run(made, tmp_path):
    return shutil.copytree(made, tmp_path / "runs" / "one")


@pytest.mark.parametrize("kind", DAMAGES)
def test_a_damaged_run(kind, run, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    change, *names = DAMAGES[kind]
    change(run)
    line = [tmp_path / "runs", "--out", tmp_path / "out"]
    command_refused(command.main, line, capsys, *names, untouched=[tmp_path])


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
def test_artifacts_of_another_kind(name, run, tmp_path, capsys):
    np.savez(run / "artifacts.npz", **report_runs.arrays() | {name: ARRAYS[name]})
    if name == "corruption_sheet":
        name = "corruption_names"
    line = [run, "--out", tmp_path / "out"]
    command_refused(command.main, line, capsys, "artifacts.npz", name, untouched=[tmp_path])


@pytest.mark.parametrize("name", ["originals", "corruption_names", "reliability_count", "other"])
def test_a_pickle_is_never_loaded(name, run, tmp_path, capsys):
    place = tmp_path / "exploded"
    np.savez(run / "artifacts.npz", **{name: bomb_array(place)})
    line = [run, "--out", tmp_path / "out"]
    command_refused(command.main, line, capsys, "artifacts.npz", untouched=[tmp_path])
    assert not place.exists()


def test_a_torn_last_line_of_a_run_that_is_not_done_is_left_out(run, tmp_path):
    torn(RESULTS, done=False)(run)
    torn(METRICS)(run)
    assert len(read_run(run).rows) == 29
    report.write([run], tmp_path / "out")


def place(name):
    def make(tmp_path):
        path = tmp_path / name
        path.mkdir(parents=True, exist_ok=True)
        return path

    return make


PLACES = {
    "none": (lambda tmp_path: tmp_path / "none", "none", "not a directory"),
    "file": (lambda tmp_path: tmp_path / "runs" / "one" / SUMMARY, "not a directory"),
    "empty": (place("empty"), "empty", "no run directory"),
    "foreign": (place("foreign/checkpoints/3"), "no run directory"),
    "hidden": (place(".git"), ".git", "no run directory"),
}


@pytest.mark.parametrize("kind", PLACES)
def test_places_without_a_run(kind, run, tmp_path, capsys):
    make, *names = PLACES[kind]
    line = [run, make(tmp_path), "--out", tmp_path / "out"]
    command_refused(command.main, line, capsys, *names, untouched=[tmp_path])


def test_a_directory_that_holds_itself(run, tmp_path):
    (tmp_path / "runs" / "again").symlink_to(tmp_path / "runs")
    report.write([tmp_path / "runs"], tmp_path / "out")


def test_foreign_files_in_a_run_do_no_harm(run, tmp_path):
    for name in ("checkpoints/notes.txt", "checkpoints/abc/x", "pictures/summary.json", "core"):
        (run / name).parent.mkdir(parents=True, exist_ok=True)
        (run / name).write_text("{")
    (run / "config.json.tmp").write_bytes(b"\xff")
    report.write([run], tmp_path / "out")


def test_baselines(run, tmp_path, capsys):
    line = [run, "--out", tmp_path / "out", "--baseline", "erm-cifar10-1"]
    names = ("baseline = 'erm-cifar10-1'", "did you mean erm-cifar10-0")
    command_refused(command.main, line, capsys, *names, untouched=[tmp_path])


READMES = {
    "none": (None, "missing"),
    "no_markers": ("# title\n", "exactly once"),
    "one_marker": ("<!-- results:begin -->\n", "exactly once"),
    "turned": ("<!-- results:end -->\n<!-- results:begin -->\n", "exactly once"),
    "twice": ("<!-- results:begin -->\n<!-- results:end -->\n" * 2, "exactly once"),
    "bytes": (b"\xff<!-- results:begin -->\n<!-- results:end -->\n", "UTF-8"),
}


@pytest.mark.parametrize("kind", READMES)
def test_readmes(kind, run, tmp_path, capsys):
    content, message = READMES[kind]
    readme = tmp_path / "README.md"
    if content is not None:
        readme.write_bytes(content if isinstance(content, bytes) else content.encode())
    line = [run, "--readme", readme]
    command_refused(command.main, line, capsys, "README.md", message, untouched=[tmp_path])


def test_the_place_to_write_is_taken(run, tmp_path, capsys):
    (tmp_path / "out").write_text("mine")
    for out in (tmp_path / "out", tmp_path / "out" / "below"):
        command_refused(command.main, [run, "--out", out], capsys, "out", untouched=[tmp_path])


@pytest.mark.parametrize("arguments", [[], ["a", "--ot", "x"], ["a", "--out"], ["--baseline"]])
def test_words_that_are_not_understood(arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        command.main(arguments)
    assert ended.value.code == 2
    assert "Traceback" not in capsys.readouterr().err


JSON = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.text(max_size=5),
        st.sampled_from([10**30, -1, 2**70, "done", "\x00", "a" * 1000, "<b>", "$x$"]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=5,
)
SUMMARY_FIELDS = [
    "run", "method", "seed", "dataset", "status", "wall_seconds", "steps", "epochs", "checkpoint",
    "params_sha256", "versions", "git", "device", "parameters", "command", "error", "vae", "new",
]  # fmt: skip
ROW_FIELDS = list(report_runs.row({"run": "", "method": "", "seed": 0, "dataset": ""}, "m", 0.5))


@settings(max_examples=60)
@given(
    file=st.sampled_from([SUMMARY, CONFIG, RESULTS, METRICS]),
    data=st.data(),
    value=JSON,
)
def test_any_json_in_any_field_is_shown_or_refused(file, data, value, made, tmp_path_factory):
    names = {
        SUMMARY: SUMMARY_FIELDS,
        CONFIG: ["model", "batch_size", "data", "epochs", "method", "seeds", "new"],
        RESULTS: [*ROW_FIELDS, "new"],
        METRICS: ["step", "epoch", "loss", "accuracy", "learning_rate", "val_accuracy", "new"],
    }
    run = shutil.copytree(made, tmp_path_factory.mktemp("any") / "run")
    name = data.draw(st.sampled_from(names[file]))
    fields = (run / file).read_text().split("\n", 1)
    if "jsonl" in file:
        first = json.loads(fields[0]) | {name: value}
        (run / file).write_text("\n".join([json.dumps(first), fields[1]]))
    else:
        (run / file).write_text(json.dumps(json.loads("\n".join(fields)) | {name: value}))
    with pytest.MonkeyPatch.context() as patch:  # drawing takes a second, and shows no text anew
        patch.setattr(markup, "svg", lambda figure, title: f"<svg>{title}</svg>")
        patch.setattr(markup, "key", lambda style: "")
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


def test_no_run_at_all(tmp_path):
    with refused("runs = []", untouched=[tmp_path]):
        report.write([], tmp_path / "out")
