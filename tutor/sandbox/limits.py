"""From a card's limits to what the kernel and the watchdog enforce.

Three layers: resource limits bind each process, the watchdog
(`tutor.sandbox.process`) bounds the resident memory of the whole tree, and the
wall clock ends everything.
"""

from __future__ import annotations

import math

from course.schema import Limits

MEGABYTE = 1 << 20
# Address space is not memory: libraries map far more than they touch. The slack lets
# NumPy, SciPy and torch load; what is really used is the watchdog's business.
_ADDRESS_SLACK_MB = 1024
# One process serves all calls of a submission, so its processor time adds up over them.
_CALLS_OF_CPU = 20


def rlimits(limits: Limits) -> dict[str, int]:
    """Resource limits of every process in the sandbox, by their `resource` names."""
    return {
        "RLIMIT_AS": (limits.memory_mb + _ADDRESS_SLACK_MB) * MEGABYTE,
        "RLIMIT_CPU": math.ceil(limits.seconds) * _CALLS_OF_CPU,
        "RLIMIT_FSIZE": limits.output_mb * MEGABYTE,
        "RLIMIT_NPROC": limits.processes,
        "RLIMIT_NOFILE": 256,
        "RLIMIT_CORE": 0,
        "RLIMIT_MEMLOCK": 0,
        "RLIMIT_MSGQUEUE": 0,
    }
