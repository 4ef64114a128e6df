"""The report of runs that are missing, empty, half-written or damaged."""

import json
import shutil

import numpy as np
import pytest
import report_runs
from hypothesis import given, settings
from hypothesis import strategies as st
from refusing import accepted_or_refused, bomb_array, bomb_bytes, command_refused, refused

from varmixup_jax import report
from varmixup_jax.report import __main__ as command
from varmixup_jax.report import markup
from varmixup_jax.report.rows import read_run

SUMMARY, CONFIG, RESULTS, METRICS = "summary.json", "config.json", "results.jsonl", "metrics.jsonl"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    root = tmp_path_factory.mktemp("made")
    return report_runs.make_run(root, metrics=3, corruptions=("fog",))


@pytest.fixture
def run(made, tmp_path):
    return shutil.copytree(made, tmp_path / "runs" / "one")


def write(name, content):
    data = content if isinstance(content, bytes) else content.encode()
    return lambda run: (run / name).write_bytes(data)


def remove(name):
    return lambda run: (run / name).unlink()


def directory(name):
    def change(run):
        (run / name).unlink()
        (run / name).mkdir()

    return change


def field(file, name, value):
    """One field of a JSON object, or of the first line of a file of them; None leaves it out."""

    def change(run):
        first, *rest = (run / file).read_text().split("\n", 1) if "jsonl" in file else [None]
        fields = json.loads(first if first is not None else (run / file).read_text())
        if value is None:
            del fields[name]
        else:
            fields[name] = value
        (run / file).write_text("\n".join([json.dumps(fields), *rest]))

    return change


def torn(file, done=True):
    def change(run):
        if not done:
            field(SUMMARY, "status", "running")(run)
        (run / file).write_text((run / file).read_text()[:-20])

    return change


FILES = {
    f"{kind}_{name.split('.')[0]}": (write(name, content), name)
    for name in (SUMMARY, CONFIG)
    for kind, content in {
        "empty": "",
        "half": '{"run": "a',
        "list": "[]",
        "number": "5",
        "null": "null",
        "bytes": b"\xff\xfe{}",
        "deep": "[" * 50_000,
        "digits": "1" * 5000,
        "deep_object": '{"a":' * 50_000,
    }.items()
}
DAMAGES = FILES | {
    "no_summary": (remove(SUMMARY), SUMMARY, "missing"),
    "no_config": (remove(CONFIG), CONFIG, "missing"),
    "no_results": (remove(RESULTS), RESULTS, "missing"),
    "summary_is_a_directory": (directory(SUMMARY), SUMMARY),
    "results_is_a_directory": (directory(RESULTS), RESULTS),
    "empty_object": (write(SUMMARY, "{}"), SUMMARY, "'run'"),
    "status_unknown": (field(SUMMARY, "status", "finished"), SUMMARY, "'finished'"),
    "status_list": (field(SUMMARY, "status", ["done"]), SUMMARY, "['done']"),
    "run_number": (field(SUMMARY, "run", 5), SUMMARY, "run = 5"),
    "run_empty": (field(SUMMARY, "run", ""), SUMMARY, "run = ''"),
    "run_control": (field(SUMMARY, "run", "a\x00b\x1b[2J"), SUMMARY, "run = "),
    "run_surrogate": (field(SUMMARY, "run", "\ud800"), SUMMARY, "run = "),
    "method_list": (field(SUMMARY, "method", ["erm"]), SUMMARY, "method = ['erm']"),
    "method_missing": (field(SUMMARY, "method", None), SUMMARY, "'method'"),
    "seed_text": (field(SUMMARY, "seed", "0"), SUMMARY, "seed = '0'"),
    "seed_bool": (field(SUMMARY, "seed", True), SUMMARY, "seed = True"),
    "seed_float": (field(SUMMARY, "seed", 0.5), SUMMARY, "seed = 0.5"),
    "seed_huge": (field(SUMMARY, "seed", 10**400), SUMMARY, "digits"),
    "dataset_missing": (field(SUMMARY, "dataset", None), SUMMARY, "'dataset'"),
    "wall_text": (field(SUMMARY, "wall_seconds", "long"), SUMMARY, "wall_seconds = 'long'"),
    "wall_nan": (field(SUMMARY, "wall_seconds", float("nan")), SUMMARY, "wall_seconds = nan"),
    "wall_inf": (field(SUMMARY, "wall_seconds", float("inf")), SUMMARY, "wall_seconds = inf"),
    "wall_huge": (field(SUMMARY, "wall_seconds", 10**400), SUMMARY, "digits"),
    "steps_list": (field(SUMMARY, "steps", [1]), SUMMARY, "steps = [1]"),
    "epochs_inf": (field(SUMMARY, "epochs", float("inf")), SUMMARY, "epochs = inf"),
    "parameters_nan": (field(SUMMARY, "parameters", float("nan")), SUMMARY, "parameters = nan"),
    "versions_list": (field(SUMMARY, "versions", ["jax"]), SUMMARY, "versions = ['jax']"),
    "vae_text": (field(SUMMARY, "vae", "mine"), SUMMARY, "vae = 'mine'"),
    "device_list": (field(SUMMARY, "device", ["TPU"]), SUMMARY, "device = ['TPU']"),
    "git_number": (field(SUMMARY, "git", 7), SUMMARY, "git = 7"),
    "command_list": (field(SUMMARY, "command", ["python"]), SUMMARY, "command = "),
    "sha_number": (field(SUMMARY, "params_sha256", 1.5), SUMMARY, "params_sha256 = 1.5"),
    "row_torn": (torn(RESULTS), f"{RESULTS}:30", "not JSON"),
    "row_bytes": (write(RESULTS, b"\xff\xfe\n"), RESULTS, "UTF-8"),
    "row_list": (write(RESULTS, "[1]\n"), f"{RESULTS}:1", "list"),
    "row_text": (write(RESULTS, "accuracy 0.9\n"), f"{RESULTS}:1", "not JSON"),
    "row_deep": (write(RESULTS, "[" * 50_000 + "\n"), f"{RESULTS}:1", "not JSON"),
    "row_digits": (write(RESULTS, '{"value": ' + "1" * 5000 + "}\n"), f"{RESULTS}:1"),
    "row_empty_object": (write(RESULTS, "{}\n"), f"{RESULTS}:1", "missing"),
    "value_missing": (field(RESULTS, "value", None), f"{RESULTS}:1", "'value'"),
    "value_text": (field(RESULTS, "value", "0.9"), f"{RESULTS}:1", "value = '0.9'"),
    "value_bool": (field(RESULTS, "value", True), f"{RESULTS}:1", "value = True"),
    "value_list": (field(RESULTS, "value", [0.9]), f"{RESULTS}:1", "value = [0.9]"),
    "value_huge": (field(RESULTS, "value", 10**400), f"{RESULTS}:1", "digits"),
    "severity_text": (field(RESULTS, "severity", "1"), f"{RESULTS}:1", "severity = '1'"),
    "severity_six": (field(RESULTS, "severity", 6), f"{RESULTS}:1", "severity = 6"),
    "severity_of_none": (field(RESULTS, "severity", 1), f"{RESULTS}:1", "severity = 1"),
    "severity_zero": (field(RESULTS, "corruption", "fog"), f"{RESULTS}:1", "severity = 0"),
    "corruption_number": (field(RESULTS, "corruption", 1), f"{RESULTS}:1", "corruption = 1"),
    "metric_number": (field(RESULTS, "metric", 1), f"{RESULTS}:1", "metric = 1"),
    "metric_empty": (field(RESULTS, "metric", ""), f"{RESULTS}:1", "metric = ''"),
    "count_float": (field(RESULTS, "count", 1.5), f"{RESULTS}:1", "count = 1.5"),
    "step_missing": (field(RESULTS, "step", None), f"{RESULTS}:1", "'step'"),
    "metrics_torn": (torn(METRICS), METRICS, "not JSON"),
    "metrics_bytes": (write(METRICS, b"\x80\n"), METRICS, "UTF-8"),
    "metrics_list": (write(METRICS, "[]\n"), f"{METRICS}:1", "list"),
    "metrics_no_step": (write(METRICS, '{"loss": 1}\n'), f"{METRICS}:1", "'step'"),
    "metrics_step_text": (write(METRICS, '{"step": "1"}\n'), f"{METRICS}:1", "step = '1'"),
    "metrics_step_huge": (field(METRICS, "step", 10**400), f"{METRICS}:1", "digits"),
    "artifacts_text": (write("artifacts.npz", "none"), "artifacts.npz"),
    "artifacts_empty": (write("artifacts.npz", ""), "artifacts.npz"),
    "artifacts_one_array": (
        lambda run: (
            np.save((run / "artifacts.npz").as_posix() + ".npy", np.ones(3))
            or (run / "artifacts.npz.npy").rename(run / "artifacts.npz")
        ),
        "artifacts.npz",
    ),
    "artifacts_a_pickle": (write("artifacts.npz", bomb_bytes("exploded")), "artifacts.npz"),
}


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
