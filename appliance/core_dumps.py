"""Forbids core dumps: one of a gateway has its private keys in it, and bytes of its clients."""

import resource

import structlog

_log = structlog.get_logger(__name__)


def forbid_core_dumps() -> None:
    """Write none from now on, nor let processes that this one starts: the hard limit is lowered too."""
    try:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    except (OSError, ValueError) as error:
        _log.warning("core dumps cannot be forbidden, and would have private keys in them", cause=str(error))
