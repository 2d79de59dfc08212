"""The PROXY protocol, version 2: the header with which a proxy names the client of a connection that it passes on.

https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt, section 2.2.
"""

from ipaddress import ip_address

from appliance.errors import Malformed

_SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
_FIXED = 16
"""Bytes of the part whose length is known."""
MAX_LENGTH = 4096
"""Bytes of the other part: addresses, and what a proxy may add. 36 bytes are two addresses of IPv6."""
_LOCAL, _PROXY = 0x20, 0x21
_ADDRESS_BYTES = {0x11: 4, 0x21: 16}
"""Bytes of an address, by the byte for family and transport: TCP over IPv4 and IPv6."""


class ProxyHeaderReader:
    """Reads one header. ``missing`` is the number of bytes to feed next, and 0 once it is whole: not a byte more may be
    taken from the socket, because what follows belongs to TLS or HTTP.
    """

    def __init__(self) -> None:
        self._bytes = b""
        self.missing = _FIXED
        self.source: tuple[str, int] | None = None
        """Address and port of the client; None where the proxy speaks for itself, as for its health checks, or
        ``is_nameless``.
        """
        self.is_nameless = False
        """Whether the proxy passes on a client that has no IP address, or whose address it does not know."""

    def feed(self, data: bytes) -> None:
        """Take at most ``missing`` bytes. Raises Malformed."""
        self._bytes += data
        if not _SIGNATURE.startswith(self._bytes[: len(_SIGNATURE)]):
            raise Malformed("PROXY protocol header", "it does not begin with the signature of version 2")
        self.missing -= len(data)
        if self.missing:
            return
        if len(self._bytes) == _FIXED:
            self.missing = int.from_bytes(self._bytes[14:16], "big")
            if self.missing > MAX_LENGTH:
                raise Malformed("PROXY protocol header", f"it is longer than {MAX_LENGTH} bytes")
        if not self.missing:
            self.source = _source(self._bytes)
            self.is_nameless = self.source is None and self._bytes[12] == _PROXY


def _source(header: bytes) -> tuple[str, int] | None:
    command, family, rest = header[12], header[13], header[_FIXED:]
    if command == _LOCAL:
        return None
    if command != _PROXY:
        raise Malformed("PROXY protocol header", f"version and command {command:#04x} are unknown")
    size = _ADDRESS_BYTES.get(family)
    if size is None:
        return None  # a proxy must be believed that it has no address of the kind that is known here
    if len(rest) < 2 * size + 4:
        raise Malformed("PROXY protocol header", "it is too short for its addresses")
    return str(ip_address(rest[:size])), int.from_bytes(rest[2 * size : 2 * size + 2], "big")
