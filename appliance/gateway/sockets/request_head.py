"""The head of an HTTP request: its bytes until it is whole, and its parts by RFC 9112.

Parsed here and not by the WebSocket library, which bounds each header at 8 KiB (cookies of a browser are longer), ends
the connection without an answer where a request is malformed, and checks no ``Host``. The library gets the headers of
the handshake only, once the request is granted.
"""

import re
from dataclasses import dataclass
from functools import cached_property

from appliance.errors import Malformed, TooLarge

MAX_HEAD = 64 * 1024
"""Bytes of the request line and all headers."""
MAX_LINES = 256
"""Header lines: 64 KiB of empty ones would take the event loop several milliseconds."""

_WHAT = "HTTP request"
_TLS_HANDSHAKE = b"\x16\x03"
_PROXY_HEADERS = (b"PROXY ", b"\x00\r\nQUIT\n")
"""The beginnings of version 1 and 2 of the PROXY protocol, the latter without its empty lines."""
_TOKEN = re.compile(r"[-!#$%&'*+.^_`|~0-9A-Za-z]+")
_VERSION = re.compile(r"HTTP/([0-9])\.([0-9])")
_TARGET = re.compile(r"[!-~]+")
_AUTHORITY = re.compile(r"(?:[A-Za-z0-9._~!$&'()*+,;=%-]*|\[[0-9A-Fa-f:.]+\])(?::[0-9]*)?")
_ABSOLUTE = re.compile(r"(?:https?|wss?)://([^/?#]*)(.*)", re.IGNORECASE)
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


class RequestHeadReader:
    """Collects the bytes of an HTTP request until its head is whole.

    Whatever follows the head are frames of a WebSocket that is not open yet. A client may send them before it has the
    answer, and they must not be read before the request is granted; so the head is cut off here.
    """

    def __init__(self) -> None:
        self._bytes = bytearray()

    def __len__(self) -> int:
        return len(self._bytes)

    def feed(self, data: bytes) -> tuple[bytes, bytes] | None:
        """Take more bytes; returns the head and the bytes that follow it, None while it is not whole.

        Raises TooLarge, and Malformed for what begins as another protocol.
        """
        head = self._bytes
        head += data
        if head.startswith((b"\r", b"\n")):  # RFC 9112 section 2.2: empty lines before the request are to be ignored
            head[:] = head.lstrip(b"\r\n")
        _check_protocol(head)
        # The end may be split between two reads: search again from three bytes before the new ones, not all of it,
        # which would cost time in the square of the size for a request that comes byte by byte.
        end = _end_of(head, max(0, len(head) - len(data) - 3))
        if (size := len(head) if end is None else end) > MAX_HEAD:
            raise TooLarge(_WHAT, size, MAX_HEAD)
        return None if end is None else (bytes(head[:end]), bytes(head[end:]))


def _check_protocol(head: bytearray) -> None:
    """Name what will never become a request; the sender would wait for the time-out otherwise."""
    if head.startswith(_PROXY_HEADERS):
        raise Malformed(_WHAT, "it begins with a header of the PROXY protocol, which this gateway does not expect")
    if head.startswith(_TLS_HANDSHAKE):
        raise Malformed(_WHAT, "it is a TLS handshake, and this address serves ws:// without TLS")


def _end_of(head: bytearray, start: int) -> int | None:
    """Where the empty line ends. A bare LF counts as the end of a line here, for `parse_request` to refuse it: who
    types a request by hand would wait for an answer otherwise.
    """
    ends = [at + len(mark) for mark in (b"\n\r\n", b"\n\n") if (at := head.find(mark, start)) >= 0]
    return min(ends, default=None)


@dataclass(frozen=True)
class RequestHead:
    """A request without its body. ``path`` includes the query; ``version`` is that of HTTP; ``headers`` have lower-case
    names and stand in the order in which they came.
    """

    method: str
    path: str
    version: tuple[int, int]
    headers: tuple[tuple[str, str], ...]

    @cached_property
    def _by_name(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for name, value in self.headers:
            found.setdefault(name, []).append(value)
        return found

    def all(self, name: str) -> list[str]:
        """Every value of a header, by its name in lower case."""
        return self._by_name.get(name, [])

    def get(self, name: str) -> str | None:
        """The first value of a header, None without one."""
        return next(iter(self.all(name)), None)

    def joined(self, name: str) -> str:
        """A header that is a list, which may be spread over several lines (RFC 9110 section 5.3)."""
        return ", ".join(self.all(name))


def parse_request(head: bytes) -> RequestHead:
    """Read a whole head. Raises Malformed, and TooLarge for too many lines.

    Strict where leniency makes two servers read a request differently (RFC 9112 section 11.2): a proxy in front of this
    gateway may have read it first.
    """
    # Counted before they are split; the request line and the empty line are no header lines.
    if (number := head.count(b"\n") - 2) > MAX_LINES:
        raise TooLarge(_WHAT, number, MAX_LINES, "header lines")
    lines = head.decode("iso-8859-1").split("\r\n")
    if lines[-2:] != ["", ""] or any("\n" in line for line in lines):
        raise Malformed(_WHAT, "its lines must end in CRLF")
    method, target, version = _parse_request_line(lines[0])
    headers = tuple(_parse_header(line) for line in lines[1:-2])
    request = RequestHead(method, _path_of(target), version, headers)
    _check_unique(request)
    return request


def _parse_request_line(line: str) -> tuple[str, str, tuple[int, int]]:
    parts = line.split(" ")
    version = _VERSION.fullmatch(parts[-1])
    if len(parts) != 3 or version is None or not _TOKEN.fullmatch(parts[0]) or not _TARGET.fullmatch(parts[1]):
        raise Malformed(_WHAT, f"it begins with {line[:80]!r} and not with e.g. 'GET / HTTP/1.1'")
    return parts[0], parts[1], (int(version[1]), int(version[2]))


def _path_of(target: str) -> str:
    """The path of a request target (RFC 9112 section 3.2): origin form, or absolute form as for a proxy."""
    absolute = _ABSOLUTE.fullmatch(target)
    path = absolute[2] if absolute else target
    if absolute and not path.startswith("/"):
        path = f"/{path}"
    if "#" in path or not path.startswith("/"):
        raise Malformed(_WHAT, f"{target[:80]!r} is not a path")
    return path


def _parse_header(line: str) -> tuple[str, str]:
    if line[:1] in (" ", "\t"):
        raise Malformed(_WHAT, "a header is folded over two lines, which RFC 9112 has abolished")
    name, colon, value = line.partition(":")
    if not colon or not _TOKEN.fullmatch(name):  # a space before the colon is an error too: RFC 9112 section 5.1
        raise Malformed(_WHAT, f"{line[:80]!r} is not a header")
    if _CONTROL.search(value):
        raise Malformed(_WHAT, f"header {name[:80]} has a control character in its value")
    return name.lower(), value.strip(" \t")


def _check_unique(request: RequestHead) -> None:
    """Headers of which there must be one, or one at most."""
    for name in ("host", "origin"):
        if (times := len(request.all(name))) > 1:
            raise Malformed(_WHAT, f"it has {times} {name.capitalize()} headers")
    host = request.get("host")
    if host is None and request.version >= (1, 1):
        raise Malformed(_WHAT, "it has no Host header")
    if host is not None and not _AUTHORITY.fullmatch(host):
        raise Malformed(_WHAT, f"{host[:80]!r} is not a host")
