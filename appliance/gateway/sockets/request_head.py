"""The beginning of a connection: bytes until they are an HTTP request."""

from appliance.errors import TooLarge

MAX_HEAD = 64 * 1024
"""Bytes of an HTTP request."""
TOO_LATE = b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
TOO_LONG = b"HTTP/1.1 431 Request Header Fields Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"

_END = b"\r\n\r\n"


class Head:
    """Collects a request until it is whole."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def feed(self, data: bytes) -> tuple[bytes, bytes] | None:
        """Take more bytes; returns the request and what came behind it, None while it is not whole.

        Raises TooLarge.
        """
        head = self._bytes
        head += data
        end = head.find(_END, max(0, len(head) - len(data) - len(_END)))
        if end >= 0:
            end += len(_END)
            return bytes(head[:end]), bytes(head[end:])
        if len(head) > MAX_HEAD:
            raise TooLarge("HTTP request", len(head), MAX_HEAD)
        return None
