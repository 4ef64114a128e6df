"""A real SLURM of two nodes on this machine: installed from Debian's packages, started, stopped.

    python tests/cluster/slurm.py DIR      # starts it, prints what to export, stops at Ctrl-C

Everything it writes lies in one folder, besides a marked line in /etc/hosts that goes again when
it stops. Daemons are children of the caller, ended by their process numbers.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

PACKAGES = ("slurmctld", "slurmd", "slurm-client", "munge")
NODES = ("n1", "n2")
HOSTS = Path("/etc/hosts")
HOSTS_LINE = f"127.0.0.1 {' '.join(NODES)}  # two SLURM nodes of a test\n"
HOSTS_LOCK = Path("/run/lock/varmixup-slurm.lock")
CONF = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ctld}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={state}/munge.socket,cred_expire=5
CredType=cred/munge
SlurmctldPidFile={state}/slurmctld.pid
SlurmdPidFile={state}/%n.pid
StateSaveLocation={state}/ctld
SlurmdSpoolDir={state}/spool-%n
SlurmctldLogFile={state}/slurmctld.log
SlurmdLogFile={state}/%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/builtin
SchedulerParameters=batch_sched_delay=0,sched_interval=1
SlurmdParameters=config_overrides
ReturnToService=2
KillWait=60
NodeName=n[1-2] NodeHostname={host} NodeAddr=127.0.0.1 Port=[{first}-{second}] CPUs=2
PartitionName=test Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


class Unavailable(RuntimeError):
    """SLURM cannot be installed or started here; the message says why."""


def install() -> None:
    """Makes sure of Debian's SLURM and munge.

    Raises:
      Unavailable: not root, no apt-get, or an installation that failed.
    """
    if os.geteuid() != 0:
        raise Unavailable("starting SLURM needs root")
    programs = ("slurmctld", "slurmd", "sbatch", "munged")
    if all(shutil.which(name) for name in programs):
        return
    if not shutil.which("apt-get"):
        raise Unavailable("SLURM is not installed and there is no apt-get")
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    get = ["apt-get", "-q", "-o", "DPkg::Lock::Timeout=120"]
    packages = ["install", "-y", "--no-install-recommends", *PACKAGES]
    for words in (["update"], packages):
        done = subprocess.run([*get, *words], env=quiet, capture_output=True, text=True)
        if done.returncode:
            last = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
            raise Unavailable(f"apt-get {words[0]} failed: {' '.join(last)}")
    missing = [name for name in programs if not shutil.which(name)]
    if missing:
        raise Unavailable(f"apt-get installed no {', '.join(missing)}")


@contextlib.contextmanager
def cluster(state: Path) -> Iterator[Mapping[str, str]]:
    """Runs SLURM while inside.

    Args:
      state: a folder of its own, made where it is missing; readable by every user, as munge wants.

    Yields:
      What a client needs in its environment.

    Raises:
      Unavailable: a daemon did not come up; the message holds the end of its log.
    """
    state.mkdir(parents=True, exist_ok=True)
    state.chmod(0o755)
    environment = {**os.environ, "SLURM_CONF": str(state / "slurm.conf")}
    with contextlib.ExitStack() as stack:
        stack.enter_context(_hosts())
        _start(stack, state, "munged", *_munge(state))
        _wait(state, "munged", lambda: (state / "munge.socket").exists())
        conf = CONF.format(state=state, host=socket.gethostname().split(".")[0], **_ports())
        (state / "slurm.conf").write_text(conf, encoding="utf-8")
        (state / "ctld").mkdir(exist_ok=True)
        _start(stack, state, "slurmctld", "slurmctld", "-D", "-i", env=environment)
        for node in NODES:
            _start(stack, state, node, "slurmd", "-D", "-N", node, env=environment)
        stack.callback(_cancel, environment)
        _wait(state, "slurmctld", lambda: _idle(environment) == len(NODES))
        yield {"SLURM_CONF": environment["SLURM_CONF"]}


def _munge(state: Path) -> list[str]:
    """The command of an authentication daemon with a key of its own, as the user munge."""
    home = state / "munge"
    home.mkdir(exist_ok=True)
    key = home / "key"
    key.write_bytes(secrets.token_bytes(1024))
    key.chmod(0o400)
    for path in (home, key):
        shutil.chown(path, "munge", "munge")
    home.chmod(0o755)
    words = ["setpriv", "--reuid=munge", "--regid=munge", "--clear-groups", "munged"]
    words += ["--foreground", f"--key-file={key}", f"--socket={home}/socket"]
    words += [f"--log-file={home}/log", f"--pid-file={home}/pid", f"--seed-file={home}/seed"]
    link = state / "munge.socket"
    link.unlink(missing_ok=True)
    link.symlink_to(home / "socket")
    return words


def _ports() -> dict[str, int]:
    """A free port for the controller and two neighbours for the nodes."""

    def free(port: int) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) != 0

    for base in range(17000, 18000, 3):
        if all(free(port) for port in range(base, base + 3)):
            return {"ctld": base, "first": base + 1, "second": base + 2}
    raise Unavailable("no three free ports in [17000, 18000)")


@contextlib.contextmanager
def _hosts() -> Iterator[None]:
    """The nodes' names resolve while inside; one cluster at a time."""
    HOSTS_LOCK.parent.mkdir(parents=True, exist_ok=True)
    with HOSTS_LOCK.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lines = [x for x in HOSTS.read_text(encoding="utf-8").splitlines(True) if x != HOSTS_LINE]
        # Written in place: in a container the file is a mount and cannot be replaced.
        HOSTS.write_text("".join([*lines, HOSTS_LINE]), encoding="utf-8")
        try:
            yield
        finally:
            text = HOSTS.read_text(encoding="utf-8").replace(HOSTS_LINE, "")
            HOSTS.write_text(text, encoding="utf-8")


def _start(
    stack: contextlib.ExitStack,
    state: Path,
    name: str,
    *command: str,
    env: Mapping[str, str] | None = None,
) -> None:
    log = stack.enter_context((state / f"{name}.out").open("w"))
    process = subprocess.Popen(
        command, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
    )
    stack.callback(_stop, process)


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(timeout=15)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _cancel(environment: Mapping[str, str]) -> None:
    """Ends every job, and waits until the nodes are rid of their processes."""
    for words in (["--full", "--signal=KILL"], []):
        subprocess.run(["scancel", "--user=root", *words], env=environment, capture_output=True)
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and _output(["squeue", "-h"], environment).strip():
        time.sleep(0.2)


def _wait(state: Path, name: str, ready, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > deadline:
            logs = [state / f"{name}.out", *sorted(state.glob("*.log"))]
            texts = [path.read_text(errors="replace")[-500:] for path in logs if path.exists()]
            raise Unavailable(f"{name} did not come up in {seconds:.0f} s:\n" + "\n".join(texts))
        time.sleep(0.1)


def _idle(environment: Mapping[str, str]) -> int:
    return _output(["sinfo", "-h", "-N", "-o", "%N %T"], environment).split().count("idle")


def _output(words: list[str], environment: Mapping[str, str]) -> str:
    return subprocess.run(words, env=environment, capture_output=True, text=True).stdout


def main() -> int:
    """Starts SLURM in the folder named on the command line and stops it when interrupted."""
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    try:
        install()
        with cluster(Path(sys.argv[1]).absolute()) as environment:
            for name, value in environment.items():
                print(f"export {name}={value}", flush=True)
            signal.pause()
    except Unavailable as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        pass
    return 0


if __name__ == "__main__":
    sys.exit(main())
