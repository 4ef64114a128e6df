"""Four methods with three seeds in one process: memory stays flat, and nothing is left behind."""

import json
import os
import subprocess
import time
from pathlib import Path

import pytest
from cli import QUICK, ROOT, command

from varmixup_jax.runs import peak_memory

SHORT = ("--config.epochs=1", "--config.seeds=(0,1,2)", "--config.data.limit=128")
NAMES = "erm,varmixup,adv_varmixup,trades"
METHODS, RUNS, LIMIT_S = 4, 12, 1200
LISTEN = "0A"
PROC = Path("/proc")


def listening(pid):
    """The inodes of the sockets on which a process waits for connections."""
    waiting = set()
    for table in ("tcp", "tcp6"):
        lines = (PROC / str(pid) / "net" / table).read_text().splitlines()[1:]
        waiting |= {words[9] for line in lines if (words := line.split())[3] == LISTEN}
    held = set()
    for handle in (PROC / str(pid) / "fd").iterdir():
        try:
            held.add(os.readlink(handle).removeprefix("socket:[").removesuffix("]"))
        except OSError:  # closed meanwhile
            continue
    return waiting & held


def marked(mark):
    """The processes that have a text in their environment, as their children inherit it."""
    found = []
    for place in PROC.glob("[0-9]*"):
        try:
            if mark.encode() in (place / "environ").read_bytes():
                found.append(place.name)
        except OSError:  # ended meanwhile, or somebody else's
            continue
    return found


def finished(workdir):
    """Summaries of the runs that are done, in the order in which they ended."""
    found = []
    for path in workdir.glob("*-s*/summary.json"):
        fields = json.loads(path.read_text())
        if fields["status"] == "done":
            found.append((path.stat().st_mtime_ns, fields))
    return [fields for _, fields in sorted(found, key=lambda pair: pair[0])]


@pytest.mark.slow
def test_a_sweep_of_four_methods_and_three_seeds_leaves_nothing_behind(tmp_path):
    if not peak_memory.begin_peak():
        pytest.skip("this system does not tell a run's peak of memory")
    temporary, cache, workdir = (tmp_path / name for name in ("tmp", "cache", "runs"))
    temporary.mkdir()
    line, environment = command(cache, workdir, *SHORT, recipe=f"digits.py:{NAMES}", quick=QUICK)
    environment["TMPDIR"] = str(temporary)
    for name in ("JAX_COMPILATION_CACHE_DIR", "JAX_DISABLE_MOST_OPTIMIZATIONS", "XLA_FLAGS"):
        environment.pop(name, None)  # programs as a user has them, none of them there yet
    handles, ports, output = [], set(), tmp_path / "output"
    with output.open("w") as written:
        process = subprocess.Popen(line, env=environment, cwd=ROOT, stdout=written, stderr=written)
    until = time.monotonic() + LIMIT_S
    try:
        while process.poll() is None and time.monotonic() < until:
            time.sleep(0.2)
            if len(finished(workdir)) > len(handles):
                handles.append(len(list((PROC / str(process.pid) / "fd").iterdir())))
                ports |= listening(process.pid)
    finally:
        process.kill()
        code = process.wait()
    assert code == 0, output.read_text()[-2000:]

    done = finished(workdir)
    assert len(done) == RUNS
    peaks = [fields["peak_rss_mib"] for fields in done]
    print(json.dumps({"peak_rss_mib": peaks, "handles": handles}))
    assert peaks[-1] <= 1.1 * peaks[1], peaks
    # The first seed compiles, which takes most; the other two load the same programs.
    for second, third in zip(peaks[METHODS : 2 * METHODS], peaks[2 * METHODS :], strict=True):
        assert third <= 1.1 * second, peaks
    assert handles[-1] <= handles[1] + 5, handles
    assert not ports
    assert not marked(str(temporary))
    assert not list(temporary.iterdir())
    assert not [path for path in workdir.rglob("*") if "tmp" in path.name]
