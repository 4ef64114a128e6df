"""Several processes as one: joining them, broadcasting the leader's decisions, ending together.

Process 0 is the leader and the only one that writes files. Everything else (training, evaluation, and
every function here except `is_lead`, `broke_off`, `settle` and `leave`) is called by all processes in
the same order. With a single process all of it does nothing and costs nothing.

If a process is lost or unresponsive, the others end within `heartbeat_s`, with exit code 5: see
`_watch` in `joining`. JAX and Gloo may be faster and abort them (SIGABRT, exit code 134 in a shell).
Only the steps since the last checkpoint are lost: the same command resumes.
"""

from varmixup_jax.cluster.agreement import (
    Vote,
    barrier,
    check_same_everywhere,
    from_lead,
    gathered,
    is_lead,
    on_lead,
    process_count,
)
from varmixup_jax.cluster.joining import LOST, broke_off, initialize, leave, settle

__all__ = [
    "LOST",
    "Vote",
    "barrier",
    "broke_off",
    "check_same_everywhere",
    "from_lead",
    "gathered",
    "initialize",
    "is_lead",
    "leave",
    "on_lead",
    "process_count",
    "settle",
]
