import contextlib
from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance import _native
from appliance.errors import (
    CandidError,
    CanisterRefused,
    CertificateError,
    CertificateStale,
    CertifiedDataMismatch,
    ClientKeyMismatch,
    ForeignQueue,
    GatewayError,
    HoleInReply,
    Malformed,
    MessageNotCertified,
    NoncesNotAscending,
    PathAbsent,
    PathUnknown,
)
from appliance.ic.principal import Principal
from tests.native.canister import (
    CANISTER,
    CLIENT,
    GATEWAY,
    NOW_NS,
    REPLY,
    Generation,
    Message,
    Reply,
    certificate,
    key_of,
    open_reply,
    verifier,
)
from tests.native.mutations import mutations
from tests.native.test_message import payload_of

GENERATIONS: list[Generation] = [0, 1, 2]
NONCES = st.lists(st.integers(0, 2**60), min_size=1, max_size=20, unique=True).map(sorted)


@given(st.sampled_from(GENERATIONS), NONCES)
def test_each_frame_opens_alone_and_shows_no_other_message(generation: Generation, nonces: list[int]) -> None:
    sent = [Message(nonce, number + 1, bytes([number])) for number, nonce in enumerate(nonces)]
    opened = open_reply(Reply.of(sent, generation), allow_holes=True)
    assert opened.time_ns == NOW_NS
    assert [polled.nonce for polled in opened.messages] == nonces
    keys = [message.key.encode() for message in sent]
    client = verifier()
    for message, polled in zip(sent, opened.messages, strict=True):
        assert (polled.key, polled.client_key) == (message.key, message.client_key(generation))
        data = payload_of(polled.frame)
        received = client.open_message(data, CANISTER, generation=generation, now_ns=NOW_NS)
        assert (received.key, received.content) == (message.key, message.content)
        assert [key for key in keys if key in data] == [message.key.encode()]
        assert data.count(message.key.encode()) == 2  # as the key and in the tree


@pytest.mark.parametrize("generation", GENERATIONS)
def test_the_payload_is_what_clients_know(generation: Generation) -> None:
    message = Message(3)
    reply = Reply.of([Message(2), message, Message(4)], generation)
    data = payload_of(open_reply(reply).messages[1].frame)
    decoded = _native.decode_cbor(data)
    assert isinstance(decoded, dict)
    assert list(decoded) == ["key", "val" if generation == 0 else "content", "cert", "tree"]
    assert data[0] == 0xA4
    assert decoded["cert"] == reply.cert
    tree = _native.HashTree.from_cbor(decoded["tree"])
    assert decoded["tree"] == tree.to_cbor(tagged=True)
    assert tree.digest == _native.HashTree.from_cbor(reply.tree).digest
    assert tree.children([b"websocket"]) == [message.key.encode()]
    with pytest.raises(PathUnknown):
        tree.lookup([b"websocket", key_of(2).encode()])


LARGE = Reply.of([Message(nonce) for nonce in range(3)])


@given(st.sampled_from(["cert", "tree", 0, 1, 2]), st.data())
def test_one_byte_changed_anywhere_is_refused(part: str | int, data: st.DataObject) -> None:
    def change(original: object) -> bytes:
        assert isinstance(original, bytes)
        changed = bytearray(original)
        changed[data.draw(st.integers(0, len(changed) - 1))] ^= data.draw(st.integers(1, 255))
        return bytes(changed)

    reply = Reply(2, [dict(message) for message in LARGE.messages], LARGE.cert, LARGE.tree)
    if isinstance(part, int):
        reply.messages[part]["content"] = change(reply.messages[part]["content"])
    else:
        setattr(reply, part, change(getattr(reply, part)))
    with pytest.raises((CertificateError, Malformed)):
        open_reply(reply)


def test_content_of_another_message_is_refused() -> None:
    reply = Reply.of([Message(0), Message(1, 2)])
    reply.messages[0]["content"], reply.messages[1]["content"] = (
        reply.messages[1]["content"],
        reply.messages[0]["content"],
    )
    with pytest.raises(MessageNotCertified, match=key_of(0)):
        open_reply(reply)


def test_a_message_that_is_not_in_the_tree_is_refused() -> None:
    reply = Reply.of([Message(0), Message(2)])
    reply.messages.insert(1, Message(1).polled(2))
    with pytest.raises(PathAbsent):
        open_reply(reply)


def test_the_tree_must_be_the_certified_one() -> None:
    reply = Reply.of([Message(0)])
    reply.tree = Reply.of([Message(0), Message(1)]).tree
    with pytest.raises(CertifiedDataMismatch, match=str(CANISTER)):
        open_reply(reply)
    reply.cert = certificate(b"")
    with pytest.raises(CertifiedDataMismatch):
        open_reply(reply)


def test_the_certificate_must_be_about_the_canister_and_fresh() -> None:
    reply = Reply.of([Message(0)])
    data = reply.encode()
    with pytest.raises(PathAbsent):
        verifier().open_poll_reply(data, Principal(b"\0" * 10), generation=2, now_ns=NOW_NS, gateway=GATEWAY)
    with pytest.raises(CertificateStale):
        verifier().open_poll_reply(data, CANISTER, generation=2, now_ns=NOW_NS + 301 * 10**9, gateway=GATEWAY)


def test_one_signature_is_verified_for_all_messages_once() -> None:
    checker = verifier()
    data = Reply.of([Message(nonce) for nonce in range(50)]).encode()
    for polls in range(3):
        assert len(checker.open_poll_reply(data, CANISTER, generation=2, now_ns=NOW_NS, gateway=GATEWAY).messages) == 50
        assert (checker.cache_misses, checker.cache_hits) == (1, polls)


@given(st.sampled_from(GENERATIONS), NONCES, st.data())
def test_what_is_recalled_is_what_was_opened(generation: Generation, nonces: list[int], data: st.DataObject) -> None:
    """With or without a flaw; and only once the certificate is known, or where none is needed."""
    sent = [Message(nonce, number + 1, bytes([number])) for number, nonce in enumerate(nonces)]
    whole = Reply.of(sent, generation).encode()
    flawed = data.draw(mutations(whole) | st.just(whole))
    checker = verifier()

    def outcome(open_it: Callable[..., _native.PollReply | None], reply: bytes) -> object:
        try:
            opened = open_it(reply, CANISTER, generation=generation, now_ns=NOW_NS, gateway=GATEWAY, allow_holes=True)
        except GatewayError as error:
            return type(error), str(error)
        if opened is None:
            return None
        return [message.frame for message in opened.messages], opened.is_end_of_queue, opened.time_ns

    assert outcome(checker.recall_poll_reply, whole) is None
    assert outcome(checker.open_poll_reply, whole) == outcome(checker.recall_poll_reply, whole)
    misses = checker.cache_misses
    recalled = outcome(checker.recall_poll_reply, flawed)
    assert checker.cache_misses == misses
    if recalled is not None:
        assert recalled == outcome(checker.open_poll_reply, flawed)


@pytest.mark.parametrize("generation", GENERATIONS)
def test_nothing_is_recalled_of_another_canister_or_later(generation: Generation) -> None:
    data, checker = Reply.of([Message(0)], generation).encode(), verifier()
    checker.open_poll_reply(data, CANISTER, generation=generation, now_ns=NOW_NS, gateway=GATEWAY)
    with pytest.raises(PathAbsent):
        checker.recall_poll_reply(data, Principal(b"\0" * 10), generation=generation, now_ns=NOW_NS, gateway=GATEWAY)
    late_ns = NOW_NS + 301 * 10**9
    with pytest.raises(CertificateStale):
        checker.recall_poll_reply(data, CANISTER, generation=generation, now_ns=late_ns, gateway=GATEWAY)


@pytest.mark.parametrize("generation", GENERATIONS)
def test_an_empty_reply_needs_no_certificate(generation: Generation) -> None:
    reply = Reply(generation, [], b"", b"", is_end_of_queue=False)
    opened = open_reply(reply)
    assert (opened.messages, opened.time_ns) == ([], None)
    recalled = verifier().recall_poll_reply(
        reply.encode(), CANISTER, generation=generation, now_ns=NOW_NS, gateway=GATEWAY
    )
    assert recalled is not None
    assert recalled.messages == []
    assert opened.is_end_of_queue is (generation != 2)


@pytest.mark.parametrize("generation", GENERATIONS)
def test_a_refusal_is_the_canisters(generation: Generation) -> None:
    data = REPLY[generation].encode({"Err": "caller is not the gateway"})
    with pytest.raises(CanisterRefused) as caught:
        verifier().open_poll_reply(data, CANISTER, generation=generation, now_ns=NOW_NS, gateway=GATEWAY)
    assert (caught.value.method, caught.value.text) == ("ws_get_messages", "caller is not the gateway")
    with pytest.raises(CanisterRefused):
        _native.read_poll_reply_unverified(data, generation=generation)


@given(st.lists(st.integers(0, 5), min_size=2, max_size=5).filter(lambda nonces: nonces != sorted(set(nonces))))
def test_nonces_ascend(nonces: list[int]) -> None:
    reply = Reply.of([Message(0)])
    reply.messages = [Message(nonce).polled(2) for nonce in nonces]
    with pytest.raises(NoncesNotAscending):
        _native.read_poll_reply_unverified(reply.encode(), generation=2)


@pytest.mark.parametrize(
    "key", ["", "_", "x", "aaaaa-aa_1", "nobody_00000000000000000001", "aaaaa-aa_0000000000000000001x"]
)
def test_keys_must_parse(key: str) -> None:
    reply = Reply.of([Message(0)])
    reply.messages[0]["key"] = key
    with pytest.raises(Malformed, match="message key"):
        _native.read_poll_reply_unverified(reply.encode(), generation=2)


def test_other_fields_and_orders_are_candid() -> None:
    """A canister of a later release may say more; one of an earlier says less."""
    types = _native.CandidTypes(
        "(variant {Later: nat; Ok: record {more: opt record {text}; tree: blob; cert: blob; is_end_of_queue: bool;"
        " messages: vec record {priority: nat8; content: blob; key: text;"
        " client_key: record {client_nonce: nat64; client_principal: principal; since: nat}}}; Err: text}, nat)"
    )
    reply = Reply.of([Message(0), Message(1)])
    for message in reply.messages:
        message["priority"] = 1
        message["client_key"] = {**message["client_key"], "since": 1 << 70}  # type: ignore[dict-item]
    fields = {"messages": reply.messages, "cert": reply.cert, "tree": reply.tree, "is_end_of_queue": False}
    data = types.encode({"Ok": {**fields, "more": ("a",)}}, 1)
    opened = verifier().open_poll_reply(data, CANISTER, generation=2, now_ns=NOW_NS, gateway=GATEWAY)
    assert [polled.nonce for polled in opened.messages] == [0, 1]
    assert opened.is_end_of_queue is False


def test_what_is_not_verified_has_the_whole_tree() -> None:
    reply = Reply.of([Message(0), Message(1)])
    reply.cert = b"not a certificate"
    read = _native.read_poll_reply_unverified(reply.encode(), generation=2)
    assert read.time_ns is None
    for polled in read.messages:
        decoded = _native.decode_cbor(payload_of(polled.frame))
        assert isinstance(decoded, dict)
        assert (decoded["cert"], decoded["tree"]) == (b"not a certificate", reply.tree)


@given(st.binary(max_size=300), st.sampled_from(GENERATIONS))
def test_junk_is_refused(junk: bytes, generation: Generation) -> None:
    for data in (junk, b"DIDL" + junk):
        with pytest.raises(CandidError):
            _native.read_poll_reply_unverified(data, generation=generation)


def test_content_that_is_no_blob_is_refused() -> None:
    types = _native.CandidTypes(
        "(variant {Ok: record {messages: vec record {client_key: record {client_principal: principal;"
        " client_nonce: nat64}; key: text; content: text}; cert: blob; tree: blob}})"
    )
    message = {**Message(0).polled(2), "content": "text"}
    data = types.encode({"Ok": {"messages": [message], "cert": b"", "tree": b""}})
    with pytest.raises(CandidError):
        _native.read_poll_reply_unverified(data, generation=2)


GATEWAYS = st.sampled_from([GATEWAY, Principal(b"\x22" * 28 + b"\x02"), Principal(b"\4")])


@given(NONCES)
def test_a_hole_is_refused_unless_it_is_allowed(nonces: list[int]) -> None:
    reply = Reply.of([Message(nonce) for nonce in nonces])
    assert [polled.nonce for polled in open_reply(reply, allow_holes=True).messages] == nonces
    holes = [(one + 1, other) for one, other in pairwise(nonces) if other != one + 1]
    if not holes:
        assert [polled.nonce for polled in open_reply(reply).messages] == nonces
        return
    with pytest.raises(HoleInReply) as caught:
        open_reply(reply)
    assert (caught.value.expected, caught.value.got) == holes[0]


@given(st.lists(GATEWAYS, min_size=1, max_size=4), st.none() | GATEWAYS)
def test_messages_are_from_one_queue_and_from_ours(gateways: list[Principal], ours: Principal | None) -> None:
    reply = Reply.of([Message(nonce, gateway=gateway) for nonce, gateway in enumerate(gateways)])
    if set(gateways) == {ours or gateways[0]}:
        assert len(open_reply(reply, gateway=ours).messages) == len(gateways)
        return
    with pytest.raises(ForeignQueue) as caught:
        open_reply(reply, gateway=ours)
    first = next(at for at, gateway in enumerate(gateways) if gateway != (ours or gateways[0]))
    assert (caught.value.key, caught.value.gateway) == (key_of(first, gateways[first]), str(ours or gateways[0]))


@pytest.mark.parametrize("generation", GENERATIONS)
@given(data=st.data())
def test_a_client_other_than_the_certified_one_is_refused(generation: Generation, data: st.DataObject) -> None:
    reply = Reply.of([Message(0), Message(1), Message(2)], generation)
    number = data.draw(st.integers(0, 2))
    beside: object = data.draw(st.binary(max_size=40))
    if generation != 0:
        beside = {
            "client_principal": data.draw(GATEWAYS | st.just(CLIENT)),
            "client_nonce": data.draw(st.integers(0, 9)),
        }
    is_lie = beside != reply.messages[number]["client_key"]
    reply.messages[number]["client_key"] = beside
    certified = [Message(0).client_key(generation)] * 3
    if is_lie:
        with pytest.raises(ClientKeyMismatch, match=key_of(number)):
            open_reply(reply)
    else:
        assert [polled.client_key for polled in open_reply(reply).messages] == certified
    read = _native.read_poll_reply_unverified(reply.encode(), generation=generation)
    assert [polled.client_key for polled in read.messages] == certified


KINDS = {
    "open": "OpenMessage = record {}",
    "ack": "AckMessage = record { last_incoming_sequence_num = 7 : nat64 }",
    "keep_alive": "KeepAliveMessage = record { last_incoming_sequence_num = 7 : nat64 }",
    "close": "CloseMessage = record { reason = variant { ClosedByApplication } }",
    None: "LaterMessage",
}


@pytest.mark.parametrize("generation", GENERATIONS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("is_service", [True, False])
def test_a_message_has_what_its_content_says(generation: Generation, kind: str | None, is_service: bool) -> None:
    content = _native.encode_candid_text(f"(variant {{ {KINDS[kind]} }})")
    message = Message(3, 12, content, is_service)
    (polled,) = open_reply(Reply.of([message], generation)).messages
    shown = is_service and generation != 0  # v0 has no messages of the protocol
    assert (polled.sequence_num, polled.timestamp_ns, polled.is_service) == (12, NOW_NS + 3, shown)
    assert polled.service_kind == (kind if shown else None)
    assert polled.problem is None


@given(st.binary(max_size=60), st.sampled_from(GENERATIONS))
def test_content_that_does_not_decode_is_a_message_with_a_problem_where_holes_are_allowed(
    junk: bytes, generation: Generation
) -> None:
    reply = Reply.of([Message(0)], generation)
    reply.messages[0]["val" if generation == 0 else "content"] = junk
    (polled,) = _native.read_poll_reply_unverified(reply.encode(), generation=generation).messages
    assert polled.problem
    assert (polled.key, polled.nonce, polled.client_key) == (key_of(0), 0, Message(0).client_key(generation))
    assert (polled.sequence_num, polled.timestamp_ns, polled.service_kind) == (0, 0, None)
    with pytest.raises(MessageNotCertified):
        open_reply(reply, allow_holes=True)


@pytest.mark.parametrize("generation", GENERATIONS)
@given(data=st.data(), allow_holes=st.booleans(), is_service=st.booleans())
def test_hostile_replies_end_in_an_error_of_ours(
    generation: Generation, data: st.DataObject, allow_holes: bool, is_service: bool
) -> None:
    """A panic of the native core would be a PanicException, which is no Exception."""
    content = _native.encode_candid_text("(variant { AckMessage = record { last_incoming_sequence_num = 7 : nat64 } })")
    whole = Reply.of([Message(0, 1, content, is_service), Message(1), Message(2)], generation)
    part = data.draw(st.sampled_from(["reply", "cert", "tree", "message"]))
    if part == "message":
        name = "val" if generation == 0 else "content"
        original = whole.messages[0][name]
        assert isinstance(original, bytes)
        whole.messages[0][name] = data.draw(mutations(original))
    elif part != "reply":
        setattr(whole, part, data.draw(mutations(getattr(whole, part))))
    encoded = whole.encode()
    reply = data.draw(mutations(encoded)) if part == "reply" else encoded
    with contextlib.suppress(GatewayError):
        _native.read_poll_reply_unverified(reply, generation=generation)
    with contextlib.suppress(GatewayError):
        opened = verifier().open_poll_reply(
            reply, CANISTER, generation=generation, now_ns=NOW_NS, gateway=GATEWAY, allow_holes=allow_holes
        )
        certified = [Message(0, 1, content, is_service), Message(1), Message(2)]
        keys = {(message.key, message.client_key(generation)) for message in certified}
        assert {(polled.key, polled.client_key) for polled in opened.messages} <= keys
