"""The transforms of computed views are compiled on a thread while other things are measured."""

import threading
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from varmixup_jax.evaluation import compile_ahead
from varmixup_jax.evaluation.compile_ahead import compiled_ahead
from varmixup_jax.evaluation.views import View, transformed

IMAGES = np.zeros((3, 2, 2, 1), np.uint8)


class Traced:
    """A transform that notes when it is traced, and so compiled."""

    def __init__(self, seen, name, fails=False):
        self.seen, self.name, self.fails = seen, name, fails
        self.done = threading.Event()

    def __call__(self, key, image, severity):
        self.seen.append((self.name, threading.current_thread() is threading.main_thread()))
        self.done.set()
        if self.fails:
            raise RuntimeError("no such corruption")
        return image * severity.astype(image.dtype)


def views_of(transforms):
    return [View(t.name, level, t) for t in transforms for level in (1, 2)]


def one_device(batch):
    return jax.device_put(batch, jax.devices()[0])


def test_each_is_compiled_once_the_last_first_and_not_again_by_the_evaluation(monkeypatch):
    seen = []
    first, last = Traced(seen, "first"), Traced(seen, "last")
    with compiled_ahead(views_of([first, last]), IMAGES, batch_size=4, put=one_device):
        assert first.done.wait(60)
    assert seen == [("last", False), ("first", False)]
    batch = one_device(np.zeros((4, 2, 2, 1), np.uint8))
    transformed(jax.random.key(3), batch, transform=last, severity=np.int32(2))
    assert len(seen) == 2
    calls = []
    monkeypatch.setattr(
        compile_ahead, "transformed", lambda *_, transform, severity: calls.append(0)
    )
    for batch_size, count in ((4, 0), (5, 1)):  # done before; batches of another size
        with compiled_ahead(views_of([first]), IMAGES, batch_size=batch_size, put=one_device):
            time.sleep(0.1)
        assert len(calls) == count


def test_what_fails_is_left_to_the_evaluation():
    seen = []
    first, last = Traced(seen, "first"), Traced(seen, "last", fails=True)
    with compiled_ahead(views_of([first, last]), IMAGES, batch_size=4, put=one_device):
        assert last.done.wait(60)
    assert seen == [("last", False)]


def test_an_error_of_the_block_ends_it():
    slow = Traced([], "slow")
    ahead = compiled_ahead(views_of([slow]), IMAGES, batch_size=4, put=one_device)
    with pytest.raises(KeyboardInterrupt), ahead:
        raise KeyboardInterrupt
    assert not [t for t in threading.enumerate() if t.name == "compile ahead"]


def test_nothing_is_done_on_several_devices_or_for_files():
    seen = []
    mesh = jax.make_mesh((2,), ("batch",), devices=jax.devices()[:2])
    rows = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("batch"))
    with compiled_ahead(
        views_of([Traced(seen, "fog")]), IMAGES, batch_size=4, put=lambda b: jax.device_put(b, rows)
    ):
        pass
    with compiled_ahead([View("fog", 1, images=IMAGES)], IMAGES, batch_size=4, put=jnp.asarray):
        pass
    assert seen == []
