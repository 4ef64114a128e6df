"""One of several processes that train together; `test_cluster.py` starts it, and calls its parts.

python tests/cluster_worker.py SCENARIO DIRECTORY COORDINATOR PROCESSES PROCESS DEVICES
"""

import json
import os
import signal
import sys
import time
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import jax.numpy as jnp
import numpy as np
import optax

from varmixup_jax import cluster
from varmixup_jax.evaluation.tally import map_batches, predict
from varmixup_jax.training import loop
from varmixup_jax.training.checkpoints import Checkpoints
from varmixup_jax.training.parallel import distribute
from varmixup_jax.training.step import evaluated, init_state, make_run, make_step

EXAMPLES, BATCH, CLASSES, SHAPE = 64, 16, 4, (8, 8, 1)
STEPS, PER_CALL, EVERY, SIZE = 8, 3, 4, 24  # 64 examples in batches of 24: the third is not full
HEARTBEAT, PATIENT = 6, 60  # of scenarios in which a process is lost, and of the others
IMAGES = np.random.default_rng(0).integers(0, 256, (EXAMPLES, *SHAPE), np.uint8)
SAVED = {"w": np.arange(3, dtype=np.float32), "n": np.int32(7)}


def linear(mapping):
    """`(run, state, fixed)` of a noisy linear classifier of centred pairs, with an average kept.

    Quick to compile, and like BatchNorm and mixing it sees the whole batch.
    """
    tx = optax.sgd(0.1, momentum=0.9)

    def loss(params, stats, key, fixed, index):
        image = fixed["images"][index].astype(jnp.float32) / 255.0
        image = image + 0.1 * jax.random.normal(key, image.shape, jnp.float32)
        image = 0.8 * image + 0.2 * image[::-1]
        mean = jnp.mean(image, axis=0)
        logits = linear_logits((params, {"mean": mean}), image)
        nll = optax.softmax_cross_entropy_with_integer_labels(logits, fixed["labels"][index])
        stats = {"mean": 0.9 * stats["mean"] + 0.1 * mean}
        return jnp.mean(nll), (stats, {"accuracy": jnp.zeros(())})

    weight = jnp.zeros((int(np.prod(SHAPE)), CLASSES))
    step = make_step(loss, tx, ema_decay=0.9, axis_name=mapping.axis_name)
    fixed = {"images": IMAGES, "labels": np.arange(EXAMPLES, dtype=np.int32) % CLASSES}
    state = init_state({"weight": weight}, {"mean": jnp.zeros(SHAPE)}, tx, ema_decay=0.9)
    return mapping.compile(make_run(step)), mapping.replicate(state), mapping.replicate(fixed)


def linear_logits(variables, image):
    """Of the linear classifier."""
    params, stats = variables
    return jnp.reshape(image - stats["mean"][None], (len(image), -1)) @ params["weight"]


def trained(via, directory, on_metrics=lambda step: None):
    """Trains to the end, from the last checkpoint: `(state, results, log)`, host arrays."""
    mapping = distribute(via)
    run, state, fixed = linear(mapping)
    log, results = {"steps": [], "losses": [], "evaluations": []}, {}

    def metrics(step, means, _):
        log["steps"].append(step)
        log["losses"].append(means["loss"])
        on_metrics(step)

    def evaluate(step, state):
        plain = mapping.collect(state)
        put = mapping.shard_batch
        scores = predict(linear_logits, evaluated(plain), IMAGES, batch_size=SIZE, put=put)
        log["evaluations"].append(step)
        results["logits"] = scores
        checkpoints.save(step, plain, {"val_accuracy": float(-step)})

    with Checkpoints(directory, keep=2) as checkpoints:
        restored = checkpoints.restore_latest(mapping.collect(state))
        if restored is not None:
            state = mapping.replicate(restored)
        start = int(mapping.collect(state).step)
        log["start"] = start
        state = loop.fit(
            run,
            state,
            fixed,
            loop.Plan(EXAMPLES, BATCH, STEPS, PER_CALL, EVERY),
            start=start,
            key=jax.random.key(5),
            data_seed=3,
            mapping=mapping,
            hooks=loop.Hooks(metrics, evaluate),
        )
        checkpoints.wait()
        log |= {"saved": checkpoints.steps(), "best": checkpoints.best_step()}
        log["scores"] = checkpoints.metrics(log["best"])
        plain = mapping.collect(state)
        again = checkpoints.restore(STEPS, plain)
        same = jax.tree.map(np.array_equal, jax.device_get(plain), jax.device_get(again))
        log["restored"] = all(jax.tree.leaves(same))
    return jax.device_get(plain), results, log


def drawn():
    """What a keyed function of a data set gives: numbers and flags."""
    rows = np.arange(7, dtype=np.float32)
    draw = jax.jit(lambda key, row: {"u": jax.random.uniform(key, row.shape) + row, "odd": row > 2})
    return map_batches(draw, (rows,), batch_size=3, key=jax.random.key(1))


def leaves(state, results):
    """Host arrays by name, for a file."""
    named = jax.tree_util.tree_leaves_with_path((state, results))
    return {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in named}


def said(error):
    """The kind and text of what a call raises."""
    try:
        error()
    except Exception as raised:
        return [type(raised).__name__, str(raised)]
    return None


def refuse(kind, text):
    """Raises."""
    raise kind(text)


def numbers(directory, mine):
    """Both mappings and the ways to agree, each result into a file of this process."""
    seen = {"count": cluster.process_count(), "lead": cluster.is_lead()}
    for via in ("jit", "pmap"):
        state, results, seen[via] = trained(via, directory / via)
        np.savez(directory / f"{via}-{mine}.npz", **leaves(state, results))
    np.savez(directory / f"drawn-{mine}.npz", **drawn())
    # What one process on one device has saved, the newest damaged: read onto this process's devices
    # and onto those of all.
    for layout, place in (("here", jax.tree.map), ("everywhere", distribute("jit").replicate)):
        like = place(jnp.asarray, SAVED) if layout == "here" else place(SAVED)
        with warnings.catch_warnings(record=True) as caught, Checkpoints(directory / layout) as one:
            warnings.simplefilter("always")
            state = one.restore_latest(like)
            seen[layout] = {name: np.asarray(leaf).tolist() for name, leaf in state.items()}
            seen[layout]["devices"] = len(state["w"].sharding.device_set)
            seen[layout]["steps"] = one.steps()
            seen[layout]["warned"] = [str(w.message) for w in caught if w.category is UserWarning]
    seen["from_lead"] = cluster.from_lead(b"" if mine else b"lead").decode()
    seen["on_lead"] = cluster.on_lead(lambda: [mine, "lead"])
    seen["value_error"] = said(lambda: cluster.on_lead(lambda: refuse(ValueError, "no good")))
    seen["runtime_error"] = said(lambda: cluster.on_lead(lambda: refuse(KeyError, "gone")))
    seen["same"] = said(lambda: cluster.check_same_everywhere({"a.b": 1, "c": [2]}))
    seen["different"] = said(lambda: cluster.check_same_everywhere({"a.b": 1, "c": mine}))
    vote = cluster.Vote()
    seen["votes"] = [vote(mine == 1 and call == 1) for call in range(4)]
    seen["uneven"] = said(lambda: distribute("jit", jax.devices()[:3]))
    cluster.barrier("both")
    if mine == 0:
        seen["late"] = said(lambda: cluster.barrier("alone", 1))
    (directory / f"seen-{mine}.json").write_text(json.dumps(seen))
    cluster.barrier("end", 60)


def _stricken(directory, mine, number, victim=1):
    def strike(step):
        if mine == victim and step > EVERY:
            while not (directory / "linear" / str(EVERY)).is_dir():
                time.sleep(0.05)
            (directory / "struck").touch()
            os.kill(os.getpid(), number)

    trained("jit", directory / "linear", strike)


def killed(directory, mine):
    """Process 1 dies in mid-training, after the first checkpoint."""
    _stricken(directory, mine, signal.SIGKILL)


def silent(directory, mine):
    """The lead falls silent in mid-training, its connections open, as a machine that is cut off."""
    _stricken(directory, mine, signal.SIGSTOP, victim=0)


def main():
    """Joins the others and runs a scenario."""
    scenario, directory, coordinator, processes, process, devices = sys.argv[1:]
    jax.config.update("jax_num_cpu_devices", int(devices))
    jax.config.update("jax_numpy_dtype_promotion", "strict")
    jax.config.update("jax_numpy_rank_promotion", "raise")
    within = HEARTBEAT if scenario in ("killed", "silent") else PATIENT
    cluster.initialize(coordinator, int(processes), int(process), timeout_s=60, heartbeat_s=within)
    try:
        globals()[scenario](Path(directory), int(process))
    except Exception as error:  # as the command line does
        if cluster.broke_off(error):
            cluster.settle()
        raise


if __name__ == "__main__":
    main()
