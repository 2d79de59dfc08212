"""Where listening sockets come from: from another process, from the service manager, or bound here."""

import socket
from collections.abc import Awaitable, Callable

Elsewhere = Callable[[int, object], Awaitable[socket.socket]]
"""Returns a socket that listens at an address of a family, and that outlives this process. Raises OSError."""

elsewhere: Elsewhere | None = None
"""The process that binds for this one: the supervisor of a worker. Like the sockets of the service manager, it belongs
to the process, and not to one of its listeners."""
