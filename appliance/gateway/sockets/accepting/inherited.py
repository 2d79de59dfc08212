"""Listening sockets that the service manager bound before this process began (sd_listen_fds(3)).

They outlive the process: while it restarts, clients wait in the socket's queue instead of being refused.
"""

import os
import socket
from collections.abc import Mapping
from functools import cache

FIRST = 3
"""File descriptor of the first one."""


@cache
def inherited_sockets() -> tuple[socket.socket, ...]:
    """The sockets passed to this process. Cached: two objects for one descriptor would close it for each other."""
    return tuple(_socket(descriptor) for descriptor in descriptors(os.environ, os.getpid()))


def descriptors(environment: Mapping[str, str], process: int) -> range:
    """The descriptors passed to a process. A child inherits the variables too, hence ``LISTEN_PID``."""
    count = environment.get("LISTEN_FDS", "")
    is_ours = environment.get("LISTEN_PID") == str(process) and count.isdecimal()
    return range(FIRST, FIRST + int(count)) if is_ours else range(0)


def find_inherited(family: int, address: object) -> socket.socket | None:
    """A duplicate of the socket that listens at this address (in the form of ``getsockname``), None if there is none.

    A dual-stack socket at ``::`` also listens at ``0.0.0.0``. A duplicate, so that a reload can close it and find it
    again later.
    """
    for one in inherited_sockets():
        if one.type == socket.SOCK_STREAM and _is_at(one, family, address):
            return one.dup()
    return None


def _is_at(one: socket.socket, family: int, address: object) -> bool:
    here = one.getsockname()
    if one.family == family:
        return bool(here[:2] == address[:2] if isinstance(address, tuple) else here == address)
    takes_both = one.family == socket.AF_INET6 and not one.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
    return takes_both and here[0] == "::" and address == ("0.0.0.0", here[1])  # noqa: S104 - compared, not bound


def _socket(descriptor: int) -> socket.socket:
    os.set_inheritable(descriptor, False)
    one = socket.socket(fileno=descriptor)
    one.setblocking(False)
    return one
