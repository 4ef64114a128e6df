"""Ways in which a run directory is damaged, and what the refusal of each must name."""

import json

import numpy as np
from refusing import bomb_bytes

SUMMARY, CONFIG, RESULTS, METRICS = "summary.json", "config.json", "results.jsonl", "metrics.jsonl"


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
