"""Faults of certificates, in answers to calls, queries and reads of state."""

import time
from collections.abc import Callable
from functools import partial

from appliance.crypto import encode_cbor
from tests.faults.kinds.registry import add, fault
from tests.faults.liar import at_time, fields_of, signed, with_certificate, with_label
from tests.faults.proxy import Exchange, NothingToSpoil

SKEWS_S = {
    "a_minute_old": -60,
    "a_minute_ahead": 60,
    "ten_minutes_old": -600,
    "ten_minutes_ahead": 600,
    "a_year_old": -365 * 86400,
    "of_the_next_century": 100 * 365 * 86400,
}
"""How far the certified time is from this clock. Those of a minute are acceptable, and yet must not mislead anybody."""


async def _certificate(exchange: Exchange, change: Callable[[bytes], bytes]) -> None:
    await exchange.send_body(with_certificate(await exchange.honest(), change))


def _flipped(data: bytes, exchange: Exchange) -> bytes:
    position = exchange.random.randrange(8 * len(data))
    flipped = bytearray(data)
    flipped[position // 8] ^= 1 << position % 8
    return bytes(flipped)


@fault()
async def bit_flip_in_certificate(exchange: Exchange) -> None:
    """One bit, anywhere in the certificate."""
    await _certificate(exchange, lambda certificate: _flipped(certificate, exchange))


@fault()
async def bit_flip_in_signature(exchange: Exchange) -> None:
    """One bit of the signature."""

    def change(certificate: bytes) -> bytes:
        fields = fields_of(certificate)
        return encode_cbor({**fields, "signature": _flipped(fields["signature"], exchange)})

    await _certificate(exchange, change)


@fault()
async def bit_flip_in_delegation(exchange: Exchange) -> None:
    """One bit of the certificate by which the root key delegates."""

    def change(certificate: bytes) -> bytes:
        fields = fields_of(certificate)
        delegation = fields["delegation"]
        flipped = _flipped(delegation["certificate"], exchange)
        return encode_cbor({**fields, "delegation": {**delegation, "certificate": flipped}})

    await _certificate(exchange, change)


@fault()
async def delegation_stripped(exchange: Exchange) -> None:
    """The subnet's signature alone, as if it were that of the root key."""

    def change(certificate: bytes) -> bytes:
        fields = fields_of(certificate)
        return encode_cbor({"tree": fields["tree"], "signature": fields["signature"]})

    await _certificate(exchange, change)


@fault()
async def signature_empty(exchange: Exchange) -> None:
    """No signature at all."""
    await _certificate(exchange, lambda certificate: encode_cbor({**fields_of(certificate), "signature": b""}))


@fault()
async def certificate_of_another_root_key(exchange: Exchange) -> None:
    """All is well signed, by another network."""
    stranger = exchange.liar.stranger
    now_ns = time.time_ns()
    await _certificate(exchange, lambda certificate: signed(fields_of(certificate)["tree"], stranger, now_ns=now_ns))


@fault("query")
async def certificate_of_another_canister(exchange: Exchange) -> None:
    """The subnet certifies the same data, for another canister."""
    mine = bytes(exchange.liar.canister_id)
    other = mine[:7] + bytes([mine[7] ^ 1]) + mine[8:]

    def change(certificate: bytes) -> bytes:
        tree = with_label(fields_of(certificate)["tree"], mine, other)
        return signed(tree, exchange.liar.authority, now_ns=time.time_ns())

    await _certificate(exchange, change)


@fault("call", "read_state")
async def certificate_of_another_call(exchange: Exchange) -> None:
    """A true certificate, of another call."""
    await exchange.honest()
    others = [answer for answer in exchange.endpoint.memory[exchange.kind] if answer is not await exchange.honest()]
    if not others:
        raise NothingToSpoil
    await exchange.send(exchange.random.choice(others))


async def _at_time(exchange: Exchange, skew_s: int) -> None:
    now_ns = time.time_ns()
    await _certificate(
        exchange,
        lambda certificate: at_time(certificate, exchange.liar.authority, now_ns + skew_s * 10**9, delegated_ns=now_ns),
    )


for _name, _skew_s in SKEWS_S.items():
    add(f"certificate_{_name}", partial(_at_time, skew_s=_skew_s))
