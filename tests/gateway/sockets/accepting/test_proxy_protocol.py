"""Headers of the PROXY protocol, version 2: read to the byte, and nothing else is taken for one."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.errors import Malformed
from appliance.gateway.sockets.accepting.proxy_protocol import MAX_LENGTH, ProxyHeaderReader

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"


def header(source: str, port: int, *, command: int = 0x21, more: bytes = b"") -> bytes:
    """As a proxy writes it: addresses of the client and of itself, their ports, and what else it has."""
    address = ipaddress.ip_address(source)
    here = ipaddress.ip_address("192.0.2.99" if address.version == 4 else "2001:db8::99")
    rest = address.packed + here.packed + port.to_bytes(2, "big") + (8080).to_bytes(2, "big") + more
    return SIGNATURE + bytes([command, 0x11 if address.version == 4 else 0x21]) + len(rest).to_bytes(2, "big") + rest


def read(data: bytes) -> tuple[ProxyHeaderReader, bytes]:
    """Feed as a socket would; returns what is behind the header too."""
    reader = ProxyHeaderReader()
    while reader.missing:
        piece, data = data[: reader.missing], data[reader.missing :]
        assert piece, "it wants more than there is"
        reader.feed(piece)
    return reader, data


@given(st.ip_addresses(), st.integers(0, 65535), st.binary(max_size=200), st.binary(max_size=40))
def test_the_client_is_named_and_what_follows_is_not_touched(source, port, more, behind):
    reader, left = read(header(str(source), port, more=more) + behind)
    assert reader.source == (str(source), port)
    assert left == behind


@given(st.ip_addresses(), st.lists(st.integers(1, 5), min_size=60, max_size=60))
def test_a_header_may_come_in_pieces(source, sizes):
    data, reader = header(str(source), 5), ProxyHeaderReader()
    for size in sizes:
        taken = min(size, reader.missing)
        if taken:
            reader.feed(data[:taken])
            data = data[taken:]
    while reader.missing:
        reader.feed(data[:1])
        data = data[1:]
    assert reader.source == (str(source), 5)
    assert not data


def test_a_proxy_that_speaks_for_itself_names_nobody():
    for data in (SIGNATURE + b"\x20\x00\0\0", header("192.0.2.1", 1, command=0x20)):
        assert (read(data)[0].source, read(data)[0].is_nameless) == (None, False)


def test_a_client_may_have_no_address_of_a_kind_that_is_known():
    assert not read(header("192.0.2.1", 1))[0].is_nameless
    for data in (SIGNATURE + b"\x21\x00\0\0", SIGNATURE + b"\x21\x31\0\xd8" + bytes(216)):
        assert (read(data)[0].source, read(data)[0].is_nameless) == (None, True)


@pytest.mark.parametrize(
    "data",
    [
        b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        SIGNATURE + b"\x31\x11\0\x0c" + bytes(12),
        SIGNATURE + b"\x21\x11\0\x0b" + bytes(11),
        SIGNATURE + b"\x21\x11" + (MAX_LENGTH + 1).to_bytes(2, "big"),
    ],
)
def test_anything_else_is_refused(data):
    with pytest.raises(Malformed, match="PROXY protocol header"):
        read(data)


@given(st.binary(max_size=60))
def test_any_bytes_are_a_header_or_refused(data):
    reader = ProxyHeaderReader()
    try:
        while reader.missing and data:
            reader.feed(data[: reader.missing])
            data = data[reader.missing :] if reader.missing else b""
    except Malformed:
        pass
