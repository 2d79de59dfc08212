"""Faults of bodies as CBOR, and answers of the IC that answer something else."""

import asyncio
from functools import partial
from typing import Any

from appliance.crypto import decode_cbor, encode_cbor
from tests.faults.kinds.registry import add, fault
from tests.faults.proxy import Answer, Exchange, NothingToSpoil

SWAP_PATIENCE_S = 0.3


async def _body(exchange: Exchange, body: bytes) -> None:
    await exchange.send(Answer(200, "application/cbor", body))


for _name, _bytes in {
    "empty_body": b"",
    "cbor_of_another_type": encode_cbor(["replied"]),
    "empty_map": encode_cbor({}),
    "deep_cbor": b"\x81" * 100_000 + b"\x00",
    "deep_maps": b"\xa1\x61a" * 100_000 + b"\x00",
    "array_of_four_billion": b"\x9a\xff\xff\xff\xff",
    "text_of_an_exabyte": b"\x7b\x0f\xff\xff\xff\xff\xff\xff\xff",
    "repeated_field": b"\xa2" + 2 * (b"\x66status" + b"\x67replied"),
    "endless_array": b"\x9f" * 1000,
    "null_everywhere": encode_cbor({"status": None, "reply": None, "certificate": None, "reject_code": None}),
    "big_integers": b"\xa2\x66status\x68rejected\x6breject_code\xc2\x58\x40" + b"\xff" * 64,
    "reject_code_of_64_bits": encode_cbor({"status": "rejected", "reject_code": 2**64 - 1, "reject_message": "no"}),
    "status_unknown": encode_cbor({"status": "perhaps", "reject_code": 2, "reject_message": "maybe"}),
    "replied_without_a_reply": encode_cbor({"status": "replied"}),
    "certificate_without_bytes": encode_cbor({"status": "replied", "certificate": b"", "reply": {"arg": b""}}),
}.items():
    add(_name, partial(_body, body=_bytes))


@fault()
async def garbage_cbor(exchange: Exchange) -> None:
    """Random bytes."""
    await _body(exchange, exchange.random.randbytes(300))


@fault()
async def bit_flip_in_body(exchange: Exchange) -> None:
    """One bit, anywhere."""
    body = bytearray((await exchange.honest()).body)
    if not body:
        raise NothingToSpoil
    position = exchange.random.randrange(8 * len(body))
    body[position // 8] ^= 1 << position % 8
    await exchange.send_body(bytes(body))


@fault()
async def cut_cbor(exchange: Exchange) -> None:
    """A valid response whose body lacks its end."""
    body = (await exchange.honest()).body
    if not body:
        raise NothingToSpoil
    await exchange.send_body(body[: exchange.random.randrange(len(body))])


@fault()
async def trailing_bytes(exchange: Exchange) -> None:
    """A body with something behind its end."""
    body = (await exchange.honest()).body
    if not body:
        raise NothingToSpoil
    await exchange.send_body(body + b"\0")


@fault()
async def stale_answer(exchange: Exchange) -> None:
    """The oldest answer that is remembered, to another request of this kind."""
    memory = exchange.endpoint.memory[exchange.kind]
    if not memory:
        raise NothingToSpoil
    await exchange.send(memory[0])


@fault("query")
async def stale_messages(exchange: Exchange) -> None:
    """An earlier reply with messages, again and again."""
    await exchange.honest()
    full = [answer for answer in exchange.endpoint.memory["query"] if len(answer.body) > 500]
    if not full:
        raise NothingToSpoil
    await exchange.send(full[0])


@fault("call")
async def swapped_replies(exchange: Exchange) -> None:
    """Two calls that are under way together get each other's replies."""
    honest, shelf = await exchange.honest(), exchange.endpoint.shelf
    if shelf:
        other, waiting = shelf.pop()
        waiting.set_result(honest)
        await exchange.send(other)
        return
    waiting = asyncio.get_running_loop().create_future()
    shelf.append((honest, waiting))
    await asyncio.wait({waiting}, timeout=SWAP_PATIENCE_S)
    if not waiting.done():
        shelf.clear()
        raise NothingToSpoil
    await exchange.send(waiting.result())


@fault("query")
async def reply_to_a_call(exchange: Exchange) -> None:
    """A query is answered with the certificate of a call."""
    calls = exchange.endpoint.memory["call"]
    if not calls:
        raise NothingToSpoil
    await exchange.send(calls[-1])


def _reject(code: int, error_code: str) -> dict[str, Any]:
    return {"reject_code": code, "reject_message": "an endpoint says so", "error_code": error_code}


REJECTIONS = {
    "sys_fatal": (1, "IC0501"),
    "sys_transient": (2, "IC0508"),
    "destination_invalid": (3, "IC0301"),
    "canister_reject": (4, "IC0406"),
    "canister_error": (5, "IC0503"),
    "out_of_cycles": (2, "IC0207"),
}


async def _reject_call(exchange: Exchange, code: int, error_code: str) -> None:
    body = {"status": "non_replicated_rejection", **_reject(code, error_code)}
    await _body(exchange, encode_cbor(body))


async def _reject_query(exchange: Exchange, code: int, error_code: str) -> None:
    fields = decode_cbor((await exchange.honest()).body)
    if not isinstance(fields, dict) or "signatures" not in fields:
        raise NothingToSpoil
    body: dict[str, Any] = {"status": "rejected", **_reject(code, error_code), "signatures": fields["signatures"]}
    await _body(exchange, encode_cbor(body))


for _name, (_code, _error) in REJECTIONS.items():
    add(f"call_rejected_{_name}", partial(_reject_call, code=_code, error_code=_error), "call")
    add(f"query_rejected_{_name}", partial(_reject_query, code=_code, error_code=_error), "query")
