"""``gateway/polling/replies.py`` with real certificates."""

import pytest

from appliance.crypto import BlsSecretKey, PollReply, Verifier
from appliance.errors import CertificateSignatureInvalid
from appliance.gateway.polling.replies import Replies
from appliance.gateway.recording.measurements import Counters
from appliance.protocol.envelopes import Mode
from appliance.threads import READ_AT_ONCE
from tests.native.canister import CANISTER, GATEWAY, NOW_NS, Message, Reply, verifier


def replies() -> Replies:
    return Replies(verifier(), "enforce", Counters(), gateway=GATEWAY, clock=lambda: NOW_NS)


def reply_of(*messages: Message) -> bytes:
    return Reply.of(list(messages)).encode()


def opened_at_once(opener: Replies, reply: bytes) -> PollReply | None:
    """What is read without leaving the event loop; None where that would be left."""
    opening = opener.open(reply, CANISTER, 2)
    try:
        opening.send(None)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]
    finally:
        opening.close()
    return None


async def test_only_a_new_certificate_is_worth_a_thread() -> None:
    reply = reply_of(Message(0), Message(1))
    assert opened_at_once(replies(), reply) is None
    opener = replies()
    opened = await opener.open(reply, CANISTER, 2)
    again = opened_at_once(opener, reply)
    assert again is not None
    assert [message.frame for message in again.messages] == [message.frame for message in opened.messages]
    assert opener.verifier.cache_misses == 1


async def test_a_reply_without_messages_needs_no_thread() -> None:
    opened = opened_at_once(replies(), Reply(2, [], b"", b"").encode())
    assert opened is not None
    assert opened.messages == []


async def test_a_large_reply_is_read_in_a_thread_in_any_case() -> None:
    opener, reply = replies(), reply_of(Message(0, content=b"x" * READ_AT_ONCE))
    assert len((await opener.open(reply, CANISTER, 2)).messages) == 1
    assert opened_at_once(opener, reply) is None


async def test_a_bad_certificate_is_refused_reported_or_taken_by_the_mode() -> None:
    reply, stranger = (
        reply_of(Message(0)),
        Verifier(BlsSecretKey.from_seed(b"another root key, of 32 bytes or more").public_key),
    )
    modes: list[Mode] = ["report", "off"]
    for mode in modes:
        counters = Counters()
        opener = Replies(stranger, mode, counters, gateway=GATEWAY, clock=lambda: NOW_NS)
        opened = await opener.open(reply, CANISTER, 2)
        assert [message.nonce for message in opened.messages] == [0]
        assert sum(counters.unverified.values()) == (mode == "report")
    with pytest.raises(CertificateSignatureInvalid):
        await Replies(stranger, "enforce", Counters(), gateway=GATEWAY, clock=lambda: NOW_NS).open(reply, CANISTER, 2)
