"""How many files and sockets the process may open, and how many of them are for clients and for their calls."""

import resource

import structlog

_log = structlog.get_logger(__name__)

RESERVE = 1024
"""Descriptors that are neither for clients nor for calls: for polls, the control plane, files and logs."""
PART = 4
"""Where there are few descriptors, one of four at most is reserved, and one of four at most is for calls."""
MIN_CALLS = 3
"""One of each kind (``calls.scheduler``)."""


def raise_limit() -> None:
    """Raise the soft limit of open files to the hard one: a soft one is for programs that use ``select``."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (OSError, ValueError) as error:  # as on macOS, which has another limit besides
            _log.warning("the limit of open files stays as it is", limit=soft, cause=str(error))


def places(max_connections: int, calls: int) -> int:
    """The most sockets of clients at a time, beside ``relay.calls``: ``gateway.max_connections``, or fewer if the
    process may open too few.
    """
    soft = _limit()
    if soft is None:
        return max_connections
    return max(1, min(max_connections, soft - min(RESERVE, soft // PART) - possible_calls(calls)))


def possible_calls(calls: int) -> int:
    """The most calls under way at a time: ``relay.calls``, or fewer if the process may open too few sockets, of which
    each call to the IC has one. Without this, those for whom there is none would count as failures of the endpoint.
    """
    soft = _limit()
    return calls if soft is None else max(MIN_CALLS, min(calls, soft // PART))


def _limit() -> int | None:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if soft == resource.RLIM_INFINITY else soft
