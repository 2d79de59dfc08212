"""How many files and sockets the process may open, and how many of them are for clients."""

import resource

import structlog

_log = structlog.get_logger(__name__)

RESERVE = 1024
"""Descriptors that are not for clients: for the IC, the control plane, files and logs."""
RESERVED_PART = 4
"""At least three of four descriptors are for clients, where there are few."""


def raise_limit() -> None:
    """Raise the soft limit of open files to the hard one: a soft one is for programs that use ``select``."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (OSError, ValueError) as error:  # as on macOS, which has another limit besides
            _log.warning("the limit of open files stays as it is", limit=soft, cause=str(error))


def places(max_connections: int) -> int:
    """The most sockets of clients at a time: ``gateway.max_connections``, or fewer if the process may open too few."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return max_connections
    return max(1, min(max_connections, soft - min(RESERVE, soft // RESERVED_PART)))
