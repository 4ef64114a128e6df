"""Where the fields of a configuration arrive: the package's own path, run on stand-ins for networks.

Each `Observer` takes a configuration through the code that reads it and says what came of it, as a
dict of parts. Networks are replaced by toys and training runs step by step without compilation, so
that a hundred fields can be changed one at a time.
"""

import contextlib
import io
import os
import tempfile
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
from field_toys import CLASSES, PIXELS, SHAPE, TOY_VAE, encode, toy_apply, toy_init, toy_logits

from varmixup_jax import corruptions, main, models, runs
from varmixup_jax.config import freeze, selected_methods
from varmixup_jax.evaluation import programs
from varmixup_jax.methods import METHODS
from varmixup_jax.runs import classifier, measure, resume, run_directory, setup, sweep, vae_store
from varmixup_jax.runs.preemption import PREEMPTION
from varmixup_jax.runs.resume import Trained
from varmixup_jax.training.checkpoints import SCORE
from varmixup_jax.training.loop import data_order
from varmixup_jax.training.step import make_step

_PREPARED = {}  # by source, where nothing else of the set-up matters
STEPS = 3  # that a stand-in for training takes where the optimiser is looked at


def prepared(config):
    """The real set-up, but for the classifiers."""
    with mock.patch.object(setup, "perceptual_classifier", toy_model):
        found = setup.prepare(freeze(config))
    return found._replace(apply=toy_apply, logits=toy_logits, validation_logits=toy_logits)


def shared(config):
    """What all runs of a sweep share."""
    found = setup.prepare(freeze(config))
    data, mapping = found.data, found.mapping
    image = jnp.arange(4.0 * PIXELS).reshape(4, *SHAPE)
    textures = found.conditions.corrupt.keywords["frost_textures"]
    return {
        "train": (data.fingerprint, data.image_shape),
        "validation": data.val_images,
        "network": found.module.clone(mean=(0.0,), std=(1.0,)),
        "augmented": found.augment(jax.random.key(0), image),
        "devices": (mapping.via, mapping.devices),
        "calls": found.steps_per_call,
        "corruptions": (
            found.conditions.source,
            found.conditions.published and found.conditions.published.where,
        ),
        "frost": (found.conditions.frost_source, textures and textures.images),
    }


def refused(config):
    """The refusal of data that are not where they should be."""
    try:
        setup.prepare(freeze(config))
    except ValueError as error:
        return {"refusal": str(error)}
    return {"refusal": None}


def _stand_in(seen, steps):
    """Instead of `fitted`: some steps, not compiled; what it was given and where it ended."""

    def fitted(task, directory, mapping, *, watch=None, **settings):
        step = make_step(task.loss, task.tx, ema_decay=task.ema_decay, axis_name=mapping.axis_name)
        state, losses, fixed = task.fresh, [], jax.tree.map(jnp.asarray, task.fixed)
        for number in range(steps):
            index = jnp.asarray(data_order(task.plan, task.data_seed, number, number + 1)[0])
            state, metrics = step(state, fixed, index, task.key)
            losses.append(metrics["loss"])
        seen.update(
            place=directory.parent,
            plan=task.plan,
            start=task.fresh.params,
            order=task.data_seed,
            draws=jax.random.key_data(task.key),
            loss=losses,
            weights=(state.params, state.stats),
            average=state.ema,
            settings=settings,
        )
        if watch is not None:
            seen["rates"] = [watch.each(number) for number in range(1, STEPS + 1)]
        return Trained(state, state, task.plan.total_steps)

    return fitted


def toy_model(vae):
    """Instead of a classifier in a file: other weights in every place."""
    variables = toy_init(jax.random.key(len(vae.perceptual_from or "")), None)
    return SimpleNamespace(
        apply=toy_apply,
        params=variables["params"],
        stats=variables["batch_stats"],
        about={"classifier": "toy", "image_shape": [*SHAPE]},
    )


def vae_trained(config, steps=STEPS):
    """The VAE of the configuration's first method, by the way of its store."""
    seen = {}
    kind = METHODS[selected_methods(config.method)[0]].vae
    found = prepared(config)

    def as_vae(module):
        seen["network"] = module
        return TOY_VAE

    with (
        mock.patch.object(models, "init", toy_init),
        mock.patch.multiple(
            vae_store,
            fitted=_stand_in(seen, steps),
            as_vae=as_vae,
            perceptual_classifier=toy_model,
        ),
    ):
        info = vae_store.obtain(found, kind).info
    return {**seen, "key": info["key"]}


def trained(config, steps=STEPS):
    """The classifier of the configuration's first method and seed."""
    seen, vicinal = {}, None
    method, found = selected_methods(config.method)[0], prepared(config)
    if METHODS[method].vae != "none":
        pixels = jnp.asarray(found.data.train_images, jnp.float32) / 255

        def frozen(seed):
            weights = toy_init(jax.random.key(seed), None)["params"]
            latents = np.asarray(encode(weights, pixels)[0])
            spread = np.full(latents.shape[1:], 0.1, np.float32)
            return TOY_VAE._replace(params=weights, latents=latents, latent_std=spread)

        others = tuple(frozen(10 + i) for i in range(len(config.vae.others)))
        vicinal = frozen(9)._replace(others=others)
    with (
        mock.patch.object(models, "init", toy_init),
        mock.patch.object(classifier, "fitted", _stand_in(seen, steps)),
        mock.patch.object(jax.random, "beta", _power),
    ):
        classifier._train(found, vicinal, method, config.seeds[0], Path("run"))
    return seen


def _power(key, a, b, shape, dtype):
    """Instead of a beta draw, which takes seconds to compile: as well a draw of these arguments."""
    return jax.random.uniform(key, shape, dtype) ** (0.2 * a + 0.3 * b)


vae_planned, planned = partial(vae_trained, steps=0), partial(trained, steps=0)
vae_attacked, sampled = partial(vae_trained, steps=1), partial(trained, steps=1)


def terms(config):
    """The objective of the configuration's method, as `_train` hands it on."""
    method, source = selected_methods(config.method)[0], config.data.source
    if source not in _PREPARED:
        _PREPARED[source] = prepared(config)
    found = _PREPARED[source]._replace(config=freeze(config))
    with (
        mock.patch.object(classifier, "empirical_risk", side_effect=_Enough) as risk,
        contextlib.suppress(_Enough),
    ):
        classifier._train(found, None, method, 0, Path("run"))
    return {"terms": risk.call_args.args[0]}


class _Enough(Exception):
    pass


def measured(config):
    """The rows of an evaluation, in which every attack reports its settings as its result."""
    batches = []
    found = prepared(config)
    put = found.mapping.shard_batch

    def recorded(batch):
        batches.append(batch.shape)
        return put(batch)

    def attack(*images, key, **settings):
        del key
        ball = settings.pop("ball", None)
        settings |= {} if ball is None else {"eps": ball.radius}
        value = sum(
            weight * settings[name]
            for weight, name in enumerate(sorted(settings), start=1)
            if name != "losses"
        )
        image = next(one for one in images if not callable(one))
        return jnp.full(image.shape[:1], value, jnp.float32)

    mapping = found.mapping._replace(shard_batch=recorded)
    conditions = found.conditions._replace(corrupt=_darker, names=("frost", "fog"))
    found = found._replace(mapping=mapping, conditions=conditions)
    pgd = programs._attacked(attack, "steps", "restarts")
    apgd = programs._attacked(attack, "steps", "restarts", "losses")
    variables = tuple(toy_init(jax.random.key(0), None).values())
    who = {"run": "run", "method": "erm", "seed": 0, "step": 1}
    with (
        mock.patch.multiple(programs, pgd=pgd, apgd=apgd, local_linearity_error=attack),
        mock.patch.object(corruptions, "NAMES", ("frost", "fog")),
    ):
        found = measure.measured(found, None, variables, who)
    seen = {"batches": batches, "logits": sorted(found.logits)}
    for line in found.rows:
        metric = line["metric"].split("_")[0].rstrip("0123456789")
        kind = metric if line["corruption"] == "none" else "corrupted"
        seen.setdefault(kind, []).append(line)
    return seen


def _darker(key, name, image, severity):
    del name, key
    return image / (1.0 + jnp.asarray(severity, jnp.float32))


def swept(config):
    """Which runs a sweep does, with which VAEs, relative to which, and what it says."""
    jobs, said = [], io.StringIO()

    def one(found, vicinal, method, seed, place):
        jobs.append((method, seed, place.name, vicinal))
        place.mkdir(parents=True)
        (place / "summary.json").touch()

    def close(places, workdir, baseline, say):
        jobs.append(("relative to", baseline))
        return []

    with (
        tempfile.TemporaryDirectory() as place,
        contextlib.redirect_stderr(said),
        mock.patch.multiple(
            sweep,
            prepare=lambda config: SimpleNamespace(data=SimpleNamespace(digests=None)),
            obtain_all=lambda found, kind: SimpleNamespace(
                info={"key": kind, "psnr": 30.0}, others=()
            ),
            train_and_evaluate=one,
            close=close,
        ),
        mock.patch.multiple(
            run_directory, finished_run=lambda place: place.name, check_data=mock.DEFAULT
        ),
    ):
        sweep.run(config, Path(place) / "sweep")
    return {"jobs": jobs, "said": said.getvalue()}


def commanded(config):
    """What the command line leaves in the environment before the first device is asked for."""
    seen = {}

    def run(config, workdir):
        seen["flags"] = os.environ.get("XLA_FLAGS")

    flags = dict.fromkeys(("workdir", "coordinator", "num_processes", "process_id", "cluster"))
    with (
        mock.patch.dict(os.environ),
        mock.patch.object(runs, "run", run),
        mock.patch.object(main.cluster, "initialize"),
        mock.patch.object(PREEMPTION, "install"),
        mock.patch.object(main.compilation, "keep_programs"),
    ):
        main._run(SimpleNamespace(**flags), config)
    return seen


def kept(config):
    """The checkpoints of a run that is best at its first: how many are kept, which is evaluated."""
    seen, found = {"scores": []}, prepared(config)
    right = np.eye(CLASSES, dtype=np.float32)[found.data.val_labels]
    answers = iter([right])

    def predict(logits, variables, images, **settings):
        wrong = np.zeros((len(images), CLASSES), np.float32)
        return next(answers, wrong) if len(images) == len(right) else wrong

    class Memory(contextlib.nullcontext):
        """Instead of `Checkpoints`."""

        def __init__(self, directory, *, keep, best):
            super().__init__(self)
            seen["kept"] = (keep, best)

        def save(self, step, state, metrics):
            seen["scores"].append((metrics[SCORE], step))

        def best_step(self):
            return max(seen["scores"])[1]

        def restore(self, step, like):
            return like

        def restore_latest(self, like):
            return None

        def wait(self):
            pass

    def fit(run, state, fixed, plan, *, hooks, **settings):
        for step in range(plan.eval_every, plan.total_steps + 1, plan.eval_every):
            hooks.evaluate(step, state)
        return state

    with (
        tempfile.TemporaryDirectory() as place,
        mock.patch.object(models, "init", toy_init),
        mock.patch.object(classifier, "predict", predict),
        mock.patch.multiple(resume, Checkpoints=Memory, fit=fit),
    ):
        seen["evaluated"] = classifier._train(found, None, "erm", 0, Path(place)).step
    return seen
