"""Several processes as one: joining them, broadcasting the leader's decisions, ending together.

Process 0 is the lead: it alone writes files. Everything else (training, evaluation, and every
function here but `is_lead`, `broke_off`, `settle` and `leave`) is called by all processes in the same
order. With a single process all of it is free and does nothing.

What happens when a process is lost: the others notice by the roll call (`rollcall`), each prints one
line that names it, and ends with exit code 5 within `heartbeat_s`; at once where it is the lead. On
CPU a collective breaks off at once (`Gloo ... Connection closed by peer`), which names nobody: who
catches that asks `settle`. Where the roll call is not in time the process is aborted (SIGABRT, exit
code 134 in a shell): by JAX's own heartbeat after twice `heartbeat_s` (`The following tasks are
unhealthy`, the numbers below it), within a second where the lead is gone (`PollForError`), or by Gloo
(`gloo::EnforceNotMet`). Nothing is lost but the steps since the last checkpoint: the same command
resumes.
"""

from varmixup_jax.cluster.agreement import (
    Vote,
    barrier,
    check_same_everywhere,
    from_all,
    from_lead,
    gathered,
    is_lead,
    on_lead,
    process_count,
)
from varmixup_jax.cluster.joining import broke_off, initialize, leave, settle
from varmixup_jax.cluster.rollcall import LOST

__all__ = [
    "LOST",
    "Vote",
    "barrier",
    "broke_off",
    "check_same_everywhere",
    "from_all",
    "from_lead",
    "gathered",
    "initialize",
    "is_lead",
    "leave",
    "on_lead",
    "process_count",
    "settle",
]
