"""Where a client comes from, and whose word for it is taken."""

from hypothesis import given
from hypothesis import strategies as st

from appliance.gateway.sockets.client_address import UNIX, remote_address

PROXY = "10.0.0.0/8"
ADDRESSES = st.ip_addresses().filter(lambda one: getattr(one, "ipv4_mapped", None) is None).map(str)


@given(ADDRESSES, st.text())
def test_without_trust_the_header_counts_for_nothing(address, header):
    assert remote_address((address, 1), header, []) == address
    assert remote_address("", header, []) == UNIX


@given(ADDRESSES, ADDRESSES)
def test_a_trusted_proxy_is_believed_about_the_last_address_only(made_up, client):
    if client.startswith("10."):
        return
    assert remote_address(("10.1.2.3", 1), f"{made_up}, {client}", [PROXY]) == client
    assert remote_address("", f"{made_up}, {client}", ["unix"]) == client


def test_a_chain_of_trusted_proxies_is_followed_to_its_beginning():
    assert remote_address(("10.1.2.3", 1), "203.0.113.9, 10.9.9.9", [PROXY]) == "203.0.113.9"
    assert remote_address(("10.1.2.3", 1), "10.8.8.8, 10.9.9.9", [PROXY]) == "10.8.8.8"
    assert remote_address(("10.1.2.3", 1), None, [PROXY]) == "10.1.2.3"


def test_ports_and_brackets_are_understood_and_nonsense_ends_the_chain():
    assert remote_address(("10.1.2.3", 1), "203.0.113.9:4711", [PROXY]) == "203.0.113.9"
    assert remote_address(("10.1.2.3", 1), "[2001:db8::1]:443", [PROXY]) == "2001:db8::1"
    assert remote_address(("10.1.2.3", 1), "203.0.113.9, unknown", [PROXY]) == "10.1.2.3"
    assert remote_address(("fe80::1%eth0", 1, 0, 2), "203.0.113.9", ["fe80::/10"]) == "203.0.113.9"


def test_an_ipv4_address_on_a_socket_for_both_is_one():
    assert remote_address(("::ffff:203.0.113.9", 1, 0, 0), None, []) == "203.0.113.9"
    assert remote_address(("::ffff:10.1.2.3", 1, 0, 0), "::ffff:203.0.113.9", [PROXY]) == "203.0.113.9"
