"""The floor every test stands on: strict promotion, key-reuse check, eight fake devices.

Most tests compile more than they compute, so programs are hardly optimised, here and in the processes
that tests start, and none is compiled twice.
"""

import contextlib
import fcntl
import functools
import gc
import os
import signal
import time

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")

import cli
import jax
import pytest

# The older way to emit fusions compiles in half the time; JAX 0.11 has the newer one alone.
OLDER = "--xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1"
if jax.__version_info__ < (0, 11) and OLDER not in os.environ.get("XLA_FLAGS", ""):
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {OLDER}".strip()

LONGEST = (
    "test_soak",
    "test_faults",
    "test_main",
    "test_cluster",
    "test_every_field",
    "test_evaluate",
    "test_runs",
    "test_bad_config",
    "test_training",
    "test_bad_report",
    "test_bad_report_strings",
    "test_objectives",
    "test_snippets",
    "test_corruption_reference",
    "test_calibration",
    "test_benchmarks",
)

# What is compiled stays: looking for garbage among it again and again took a fourteenth of the time.
gc.set_threshold(50_000, 20, 10)

# JAX makes an MLIR context for each program, a fifth of the time that a small one takes to compile, and
# half of it where the cache has it. One serves all.
with contextlib.suppress(ImportError, AttributeError):  # a private module: it may be gone
    from jax._src.interpreters import mlir

    mlir.make_ir_context = functools.cache(mlir.make_ir_context)

jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_debug_key_reuse", True)


def pytest_configure(config):
    """Keeps compiled programs in pytest's cache, for all workers, their children and later sessions."""
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ and hasattr(config, "cache"):
        os.environ["JAX_COMPILATION_CACHE_DIR"] = str(config.cache.mkdir("xla"))
    jax.config.update("jax_compilation_cache_dir", os.environ.get("JAX_COMPILATION_CACHE_DIR"))


def pytest_collection_modifyitems(items):
    """Long files first: one begun last would keep a worker busy while the others wait."""
    place = {name: rank for rank, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.path.stem, len(place)))


def pytest_collection_finish():
    """Modules and tests are there to the end."""
    gc.freeze()


@pytest.fixture
def key():
    """A fresh typed key."""
    return jax.random.key(0)


@pytest.fixture(scope="session")
def cache(tmp_path_factory):
    """VAEs, shared by all tests that run the command line on digits."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def swept(cache, tmp_path_factory):
    """A sweep of an undisturbed run and one that cannot begin: its directory, exit code, output."""
    workdir = tmp_path_factory.mktemp("sweep")
    (workdir / "locked-s0").mkdir()
    with (workdir / "locked-s0" / ".lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        return workdir, *cli.launch_sweep(cache, workdir, "--run=locked erm", "--parallel=2")


@pytest.fixture(scope="session")
def straight(swept):
    """The undisturbed run: its directory."""
    workdir, _, output = swept
    assert "varmixup-s0: ended with code 0" in output, output
    return workdir / "varmixup-s0"


@pytest.fixture(scope="session")
def preempted(cache, straight, tmp_path_factory):
    """A run that SIGTERM stopped in mid-training; (directory, exit code, seconds it took to stop)."""
    workdir = tmp_path_factory.mktemp("preempted") / "run"
    process = cli.start(cache, workdir)
    assert cli.wait_for(lambda: cli.steps_taken(workdir) >= 12, process)
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    code = process.wait(timeout=60)
    return workdir, code, time.monotonic() - began
