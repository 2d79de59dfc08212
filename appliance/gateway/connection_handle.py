"""The connection around a peer, as the peer uses it."""

from typing import NamedTuple, Protocol


class ConnectionSource(NamedTuple):
    """The source of a connection: the client's address, the path of its upgrade, and the time (ns since 1970)."""

    address: str = ""
    path: str = "/"
    at_ns: int = 0


class ConnectionHandle(Protocol):
    """The connection around a peer."""

    def close(self, error: Exception) -> None:
        """Close the socket for this reason; the first one counts. Never raises."""

    def pause_reading(self) -> None:
        """Pass on no further message of the client until ``resume_reading``."""

    def resume_reading(self) -> None:
        """Pass on messages again. Does nothing unless they were paused."""

    def hold(self, number: int) -> None:
        """Count bytes that are kept for the client, or fewer where negative."""

    def joined(self) -> None:
        """The opening message was accepted."""

    def opened(self) -> None:
        """The session is open."""
