"""Ways in which a run directory is damaged, and what the refusal of each must name."""

import json
import math

import numpy as np
from damages import bomb_bytes, folder, remove, write

SUMMARY, CONFIG, RESULTS, METRICS = "summary.json", "config.json", "results.jsonl", "metrics.jsonl"
NAN, INF, HUGE = math.nan, math.inf, 10**400  # the last has more digits than are read


NOTHING = object()


def field(file, name, value):
    """One field of a JSON object, or of the first line of a file of them; NOTHING leaves it out."""

    def damage(run):
        text = (run / file).read_text()
        first, *rest = text.split("\n", 1) if "jsonl" in file else [text]
        fields = json.loads(first) | {name: value}
        fields = {name: value for name, value in fields.items() if value is not NOTHING}
        (run / file).write_text("\n".join([json.dumps(fields), *rest]))

    return damage


def torn(file, done=True):
    def damage(run):
        if not done:
            field(SUMMARY, "status", "running")(run)
        (run / file).write_text((run / file).read_text()[:-20])

    return damage


def one_array(run):
    with (run / "artifacts.npz").open("wb") as file:
        np.save(file, np.ones(3))


NO_OBJECTS = {
    "empty": "", "half": '{"run": "a', "list": "[]", "number": "5", "null": "null", "digits": "1" * 5000,
    "bytes": b"\xff\xfe{}", "deep": "[" * 50_000, "deep_object": '{"a":' * 50_000,
}  # fmt: skip
WRONG = {  # the refusal quotes the field and its value
    SUMMARY: {
        "run": [5, ""], "method": [["erm"]], "seed": ["0", True, 0.5], "steps": [[1]], "git": [7],
        "wall_seconds": ["long", NAN, INF], "epochs": [INF], "parameters": [NAN], "vae": ["mine"],
        "versions": [["jax"]], "device": [["TPU"]], "command": [["python"]], "params_sha256": [1.5],
    },
    RESULTS: {
        "value": ["0.9", True, [0.9]], "severity": ["1", 6, 1], "corruption": [1], "metric": [1, ""],
        "count": [1.5],
    },
    METRICS: {},
}  # fmt: skip
ABSENT = {SUMMARY: ["method", "dataset"], RESULTS: ["value", "step"], METRICS: []}
TOO_LONG = {SUMMARY: ["seed", "wall_seconds"], RESULTS: ["value"], METRICS: ["step"]}
DAMAGES = {
    f"{kind}_{name}": (write(name, content), name)
    for name in (SUMMARY, CONFIG)
    for kind, content in NO_OBJECTS.items()
}
for file, fields in WRONG.items():
    line = f"{file}:1" if "jsonl" in file else file
    for name, values in fields.items():
        for value in values:
            quoted = f"{name} = {value!r}"
            finite = not isinstance(value, float) or math.isfinite(value)
            said = quoted if finite else f"{json.dumps(value)} is not JSON"  # for no field has it
            DAMAGES[f"{file}: {quoted}"] = (field(file, name, value), line, said)
    for name in ABSENT[file]:
        DAMAGES[f"{file}: no {name}"] = (field(file, name, NOTHING), line, f"'{name}'")
    for name in TOO_LONG[file]:
        DAMAGES[f"{file}: long {name}"] = (field(file, name, HUGE), line, "digits")
DAMAGES |= {f"no_{name}": (remove(name), name, "missing") for name in (SUMMARY, CONFIG, RESULTS)}
DAMAGES |= {f"{name}_is_a_directory": (folder(name), name) for name in (SUMMARY, RESULTS)}
DAMAGES |= {
    "empty_object": (write(SUMMARY, "{}"), SUMMARY, "'run'"),
    "status_unknown": (field(SUMMARY, "status", "finished"), SUMMARY, "'finished'"),
    "run_control": (field(SUMMARY, "run", "a\x00b\x1b[2J"), SUMMARY, "run = "),
    "run_surrogate": (field(SUMMARY, "run", "\ud800"), SUMMARY, "run = "),
    "severity_zero": (field(RESULTS, "corruption", "fog"), f"{RESULTS}:1", "severity = 0"),
    "row_torn": (torn(RESULTS), f"{RESULTS}:30", "not JSON"),
    "row_bytes": (write(RESULTS, b"\xff\xfe\n"), RESULTS, "UTF-8"),
    "row_text": (write(RESULTS, "accuracy 0.9\n"), f"{RESULTS}:1", "not JSON"),
    "row_deep": (write(RESULTS, "[" * 50_000 + "\n"), f"{RESULTS}:1", "not JSON"),
    "row_empty_object": (write(RESULTS, "{}\n"), f"{RESULTS}:1", "missing"),
    "metrics_torn": (torn(METRICS), METRICS, "not JSON"),
    "metrics_bytes": (write(METRICS, b"\x80\n"), METRICS, "UTF-8"),
    "metrics_no_step": (write(METRICS, '{"loss": 1}\n'), f"{METRICS}:1", "'step'"),
    "artifacts_text": (write("artifacts.npz", "none"), "artifacts.npz"),
    "artifacts_one_array": (one_array, "artifacts.npz"),
    "artifacts_a_pickle": (write("artifacts.npz", bomb_bytes("exploded")), "artifacts.npz"),
}
