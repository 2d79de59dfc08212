"""``ic/agent.py`` against real servers on loopback that certify with a real BLS key."""

import asyncio
from types import CoroutineType
from typing import cast

import pytest
from aiohttp import web

from appliance.crypto import HashTree, Request, SigningKey, Verifier, encode_cbor, encode_certificate
from appliance.errors import (
    CallExpired,
    CandidError,
    CertificateSignatureInvalid,
    CertificateStale,
    CertifiedReject,
    GatewayError,
    IcError,
    IcRefused,
    IcUnreachable,
    Malformed,
    Rejected,
    ReplyMalformed,
    ReplyTooLarge,
    TooLarge,
    UncertifiedReject,
)
from appliance.ic.agent import OWN_PATIENCE, Agent
from appliance.ic.api import PROBE_AGAIN_NS
from appliance.ic.attempts import ENOUGH_ACCEPTANCES
from appliance.ic.envelope import sign_request
from appliance.ic.identity import AnonymousIdentity, KeyIdentity
from appliance.ic.principal import MANAGEMENT_CANISTER, Principal
from appliance.ic.queries import EndpointReply
from appliance.ic.route import Route
from appliance.threads import READ_AT_ONCE, VERIFICATION
from tests.ic.conftest import AgentFor
from tests.ic.scripted_ic import (
    NOW_NS,
    ROOT,
    STRANGER,
    Answer,
    ScriptedIc,
    TestTime,
    accepted,
    cbor,
    certificate,
    http,
    leb128,
    query_reply,
    refused,
    rejected,
    replied,
    request_state,
    state,
    status,
)

CANISTER = Principal.from_text("bkyz2-fmaaa-aaaaa-qaaaq-cai")
OTHER = Principal.from_text("ryjl3-tyaaa-aaaaa-aaaba-cai")
ALL_CALLS = {"v2/call", "v3/call", "v4/call"}


def a_clients_call(lifetime_ns: int = 240 * 10**9) -> Request:
    """An envelope as a session hands it on: from another identity than the agent's."""
    client = KeyIdentity(SigningKey.from_secret("ed25519", bytes(31) + b"\x09"))
    call = sign_request(
        client,
        "call",
        now_ns=NOW_NS,
        canister_id=CANISTER,
        method_name="ws_message",
        arg=b"DIDL",
        lifetime_ns=lifetime_ns,
    )
    return Verifier(ROOT.public_key).open_request(call.body, now_ns=NOW_NS)


async def greet(agent: Agent) -> bytes:
    return await agent.call(CANISTER, "greet", b"DIDL\0\0")


# --- queries --------------------------------------------------------------------------------------------------------


async def test_a_query_is_signed_and_answered(ic: ScriptedIc, agent_for: AgentFor, identity: KeyIdentity) -> None:
    opened: list[Request] = []

    def answer(request: Request | None) -> web.Response:
        assert request is not None
        opened.append(request)
        return cbor({"status": "replied", "reply": {"arg": b"answer"}})

    ic.script(answer)
    assert await agent_for(ic.url).query(CANISTER, "ws_get_messages", b"DIDL\0\0") == b"answer"
    assert ic.seen[0].path == "/api/v2/canister/bkyz2-fmaaa-aaaaa-qaaaq-cai/query"
    request = opened[0]
    assert (request.sender, request.method_name, request.arg) == (identity.principal, "ws_get_messages", b"DIDL\0\0")


async def test_a_query_falls_back_to_the_version_that_is_served(ic: ScriptedIc, agent_for: AgentFor) -> None:
    ic.serves = {"v3/query"}
    ic.script(query_reply(b"answer"))
    agent = agent_for(ic.url)
    for _ in range(2):
        assert await agent.query(CANISTER, "m", b"") == b"answer"
    assert ic.asked == ["v2/query", "v3/query", "v3/query"]


async def test_a_rejected_query_raises(ic: ScriptedIc, agent_for: AgentFor) -> None:
    ic.script(lambda _: cbor({"status": "rejected", "reject_code": 5, "reject_message": "trapped"}))
    with pytest.raises(UncertifiedReject, match="trapped"):
        await agent_for(ic.url).query(CANISTER, "m", b"")


async def test_the_next_endpoint_answers_where_one_is_down(
    ic: ScriptedIc, other_ic: ScriptedIc, agent_for: AgentFor, time: TestTime
) -> None:
    ic.script(http(503), query_reply(b"first"))
    other_ic.script(query_reply(b"second"))
    agent = agent_for(ic.url, other_ic.url)
    assert await agent.query(CANISTER, "m", b"") == b"second"
    assert await agent.query(CANISTER, "m", b"") == b"second"
    await time.sleep(1)
    assert await agent.query(CANISTER, "m", b"") == b"first"


async def test_a_query_that_nobody_answers_says_so(agent_for: AgentFor, unused_tcp_port: int) -> None:
    with pytest.raises(IcUnreachable):
        await agent_for(f"http://127.0.0.1:{unused_tcp_port}").query(CANISTER, "m", b"")


async def accept(reply: EndpointReply) -> bytes:
    return reply.arg


async def test_queries_of_a_canister_begin_at_one_endpoint_after_the_other(
    ic: ScriptedIc, other_ic: ScriptedIc, agent_for: AgentFor
) -> None:
    ic.script(query_reply(b"first"))
    other_ic.script(query_reply(b"second"))
    agent = agent_for(ic.url, other_ic.url)
    assert [await agent.query_until(CANISTER, "m", b"", accept) for _ in range(3)] == [b"first", b"second", b"first"]
    assert await agent.query_until(OTHER, "m", b"", accept) == b"first"


async def test_a_single_endpoint_is_queried_again(ic: ScriptedIc, agent_for: AgentFor) -> None:
    ic.script(query_reply(b"answer"))
    agent = agent_for(ic.url)
    for _ in range(2):
        assert await agent.query_until(CANISTER, "m", b"", accept) == b"answer"
    assert len(set(ic.bodies)) == 2, "a reply to one query can be played back to the next"


@pytest.mark.parametrize(
    "problem",
    [CertificateSignatureInvalid("bad"), Malformed("reply", "bad"), CandidError("bad"), TooLarge("reply", 2, 1)],
)
async def test_a_reply_that_cannot_be_used_is_the_trouble_of_its_endpoint(
    ic: ScriptedIc, other_ic: ScriptedIc, agent_for: AgentFor, problem: GatewayError
) -> None:
    ic.script(query_reply(b"bad"))
    other_ic.script(query_reply(b"good"))
    agent = agent_for(ic.url, other_ic.url)

    async def read(reply: EndpointReply) -> str:
        if reply.arg == b"bad":
            raise problem
        assert reply.endpoints in (1, 2)
        return reply.endpoint

    for _ in range(3):
        assert await agent.query_until(CANISTER, "m", b"", read) == other_ic.url
    assert (len(ic.seen), len(other_ic.seen)) == (1, 3), "it rests for a while"
    with pytest.raises(GatewayError, match=r"bad|limit"):
        await agent_for(ic.url).query_until(CANISTER, "m", b"", read)


async def test_a_reply_beyond_the_limit_is_refused(ic: ScriptedIc, agent_for: AgentFor) -> None:
    ic.script(query_reply(bytes(5000)))
    with pytest.raises(ReplyTooLarge):
        await agent_for(ic.url, max_reply=4000).query(CANISTER, "m", b"")


async def test_nobody_can_query_too(ic: ScriptedIc, agent_for: AgentFor) -> None:
    ic.script(query_reply(b"answer"))
    assert await agent_for(ic.url, who=AnonymousIdentity()).query(CANISTER, "m", b"") == b"answer"


async def test_garbage_is_malformed(ic: ScriptedIc, agent_for: AgentFor) -> None:
    ic.script(lambda _: web.Response(body=b"\xff", content_type="application/cbor"))
    with pytest.raises(ReplyMalformed):
        await agent_for(ic.url).query(CANISTER, "m", b"")


# --- endpoints that are broken --------------------------------------------------------------------------------------


def body(data: bytes, *, kind: str = "application/cbor", code: int = 200) -> Answer:
    return lambda _: web.Response(status=code, body=data, content_type=kind)


NO_ANSWERS: dict[str, Answer] = {
    **{f"HTTP {code}": http(code, "no") for code in (201, 204, 206, 302, 304, *range(400, 419), 429, 500, 503)},
    "a web page": body(b"<html>", kind="text/html"),
    "a page without a type": body(b"<html>", kind="application/octet-stream"),
    "too large": body(bytes(200_000)),
    "nothing": body(b""),
    "an empty map": body(encode_cbor({})),
    "no map": body(encode_cbor([1])),
    "not CBOR": body(b"\xff"),
    "no certificate in it": body(encode_cbor({"status": "replied", "certificate": b"", "reply": {}})),
    "a rejection of an endpoint": refused(5, "canister trapped", "IC0503"),
    "an absurd pause": http(503, Retry_After="Tue, 14 Nov 2023 22:13:27 +999999999999999"),
    "an endless pause": http(503, Retry_After="99999999999"),
}
NO_OUTCOMES: dict[str, Answer] = {
    "stale": replied(b"old", time_ns=NOW_NS - 301 * 10**9),
    "from the future": replied(b"new", time_ns=NOW_NS + 301 * 10**9),
    "forged": replied(b"forged", key=STRANGER),
    "of a replica that lags behind": lambda _: cbor(
        {"status": "replied", "certificate": certificate({}, time_ns=NOW_NS)}
    ),
    "a state that is none": status(b"astray"),
    "accepted and no more": accepted,
}


@pytest.mark.parametrize("answer", [*NO_ANSWERS.values(), *NO_OUTCOMES.values()], ids=[*NO_ANSWERS, *NO_OUTCOMES])
async def test_a_client_gets_in_through_the_healthy_endpoint(
    ic: ScriptedIc, other_ic: ScriptedIc, agent_for: AgentFor, answer: Answer
) -> None:
    ic.serves = ALL_CALLS
    ic.script(answer)
    other_ic.script(replied(b"Ok"))
    agent = agent_for(ic.url, other_ic.url)
    for _ in range(2):
        assert await agent.submit(a_clients_call()) == b"Ok"
    assert len(other_ic.seen) == 2


@pytest.mark.parametrize("answer", NO_ANSWERS.values(), ids=NO_ANSWERS)
async def test_queries_go_to_the_healthy_endpoint(
    ic: ScriptedIc, other_ic: ScriptedIc, agent_for: AgentFor, answer: Answer
) -> None:
    ic.serves.add("v3/query")
    ic.script(answer)
    other_ic.script(query_reply(b"answer"))
    assert await agent_for(ic.url, other_ic.url).query(CANISTER, "m", b"") == b"answer"


@pytest.mark.parametrize("answer", NO_ANSWERS.values(), ids=NO_ANSWERS)
async def test_where_no_endpoint_is_healthy_the_client_may_come_back(
    ic: ScriptedIc, other_ic: ScriptedIc, agent_for: AgentFor, answer: Answer, time: TestTime
) -> None:
    for endpoint in (ic, other_ic):
        endpoint.serves = ALL_CALLS
        endpoint.script(answer)
    agent = agent_for(ic.url, other_ic.url)
    with pytest.raises(IcError) as failure:
        await agent.submit(a_clients_call())
    assert 4000 <= failure.value.close_code < 4500
    assert ic.seen
    assert other_ic.seen
    assert not any(pause > 5 for pause in time.slept)


async def test_the_status_of_an_own_call_is_read_elsewhere_where_one_endpoint_knows_nothing(
    ic: ScriptedIc, other_ic: ScriptedIc, agent_for: AgentFor
) -> None:
    ic.script(accepted, request_state(None))
    other_ic.script(request_state({b"status": b"replied", b"reply": b"hello"}))
    assert await greet(agent_for(ic.url, other_ic.url)) == b"hello"
    assert other_ic.asked == ["v3/read_state"]


async def test_garbage_for_five_seconds_is_waited_for(ic: ScriptedIc, agent_for: AgentFor, time: TestTime) -> None:
    def recovering(request: Request | None) -> web.StreamResponse:
        answer = replied(b"Ok") if time.now_ns >= NOW_NS + 5 * 10**9 else body(b"\xff")
        response = answer(request)
        assert isinstance(response, web.StreamResponse)
        return response

    ic.script(recovering)
    assert await agent_for(ic.url).submit(a_clients_call()) == b"Ok"


async def test_a_pause_of_the_only_endpoint_lasts_seconds(ic: ScriptedIc, agent_for: AgentFor, time: TestTime) -> None:
    ic.script(http(503, Retry_After="99999999999"), replied(b"Ok"))
    assert await agent_for(ic.url).submit(a_clients_call()) == b"Ok"
    assert sum(time.slept) == 5


# --- reading the state ----------------------------------------------------------------------------------------------


async def test_the_state_is_verified(ic: ScriptedIc, agent_for: AgentFor) -> None:
    ic.script(state(lambda paths: {paths[0][0]: {paths[0][1]: b"leaf"}}))
    tree = await agent_for(ic.url).read_state([[b"a", b"b"]], CANISTER)
    assert (tree.lookup([b"a", b"b"]), tree.lookup([b"a", b"c"]), tree.time_ns) == (b"leaf", None, NOW_NS)


def submissions(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """What is given to a thread from now on."""
    submit, submitted = VERIFICATION.submit, []
    monkeypatch.setattr(VERIFICATION, "submit", lambda work: submitted.append(work) or submit(work))
    return submitted


async def test_answers_with_one_signature_need_one_thread(
    ic: ScriptedIc, agent_for: AgentFor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As those to the calls of a block: each shows something else of the same state."""
    tree = HashTree.from_labels({b"time": leb128(NOW_NS), b"x": {bytes([number]): b"leaf" for number in range(20)}})
    signature = ROOT.sign_root(tree.digest)

    def shown(request: Request | None) -> web.Response:
        assert request is not None
        return cbor({"certificate": encode_certificate(tree.witness([[b"time"], *request.paths]), signature)})

    ic.script(shown)
    submitted = submissions(monkeypatch)
    agent = agent_for(ic.url)
    read = [agent.read_state([[b"x", bytes([number])]], CANISTER) for number in range(20)]
    for number, state_of in enumerate(await asyncio.gather(*read)):
        assert state_of.lookup([b"x", bytes([number])]) == b"leaf"
    assert len(submitted) == 1


async def test_answers_with_one_signature_go_on_in_one_turn_of_the_loop(agent_for: AgentFor) -> None:
    """So that they cause one poll. One after the other each would take a turn, and there are many in a block."""
    labels = [bytes([number]) for number in range(20)]
    tree = HashTree.from_labels({b"time": leb128(NOW_NS), b"x": dict.fromkeys(labels, b"leaf")})
    signature = ROOT.sign_root(tree.digest)
    agent, loop, turn, ended = agent_for("http://127.0.0.1:1"), asyncio.get_running_loop(), 0, []

    def count() -> None:
        nonlocal turn
        turn += 1
        loop.call_soon(count)

    async def verify(label: bytes) -> None:
        await agent._verify(CANISTER, encode_certificate(tree.witness([[b"time"], [b"x", label]]), signature))
        ended.append(turn)

    count()
    await asyncio.gather(*map(verify, labels))
    assert len(ended) == len(labels)
    assert len(set(ended)) <= 2, "that of the one that is verified, and that of the others"


async def test_one_signature_over_two_trees_is_verified_for_each(agent_for: AgentFor) -> None:
    trees = [HashTree.from_labels({b"time": leb128(NOW_NS), b"x": value}) for value in (b"honest", b"forged")]
    signature = ROOT.sign_root(trees[0].digest)
    agent = agent_for("http://127.0.0.1:1")
    certificates = [encode_certificate(tree, signature) for tree in (*trees, *trees)]
    found = await asyncio.gather(*(agent._verify(CANISTER, each) for each in certificates), return_exceptions=True)
    assert [type(each) is CertificateSignatureInvalid for each in found] == [False, True, False, True]


@pytest.mark.parametrize(("size", "threads"), [(READ_AT_ONCE - 1000, 1), (READ_AT_ONCE, 2)])
async def test_a_large_certificate_is_read_in_a_thread_in_any_case(
    ic: ScriptedIc, agent_for: AgentFor, monkeypatch: pytest.MonkeyPatch, size: int, threads: int
) -> None:
    """Also where its signature is known."""
    ic.script(state(lambda _: {b"a": bytes(size)}))
    submitted, agent = submissions(monkeypatch), agent_for(ic.url, max_reply=2 * READ_AT_ONCE)
    for _ in range(2):
        assert (await agent.read_state([[b"a"]], CANISTER)).lookup([b"a"]) == bytes(size)
    assert len(submitted) == threads


async def test_a_state_that_is_not_fresh_is_refused(ic: ScriptedIc, agent_for: AgentFor) -> None:
    ic.script(state(lambda _: {}, time_ns=NOW_NS - 301 * 10**9))
    agent = agent_for(ic.url)
    with pytest.raises(CertificateStale):
        await agent.read_state([[b"time"]], CANISTER)
    assert await agent.fetch_certificate([[b"time"]], CANISTER)


async def test_an_honest_endpoint_is_asked_after_one_that_lies(
    ic: ScriptedIc, other_ic: ScriptedIc, agent_for: AgentFor
) -> None:
    ic.script(state(lambda _: {}, time_ns=NOW_NS - 301 * 10**9))
    other_ic.script(state(lambda _: {}))
    tree = await agent_for(ic.url, other_ic.url).read_state([[b"time"]], CANISTER)
    assert tree.time_ns == NOW_NS


# --- own calls ------------------------------------------------------------------------------------------------------


async def test_a_call_returns_its_certified_reply(ic: ScriptedIc, agent_for: AgentFor) -> None:
    ic.script(replied(b"hello"))
    assert await greet(agent_for(ic.url)) == b"hello"
    assert ic.asked == ["v4/call"]


async def test_the_effective_canister_may_be_another(ic: ScriptedIc, agent_for: AgentFor) -> None:
    ic.script(replied(b"done"))
    agent = agent_for(ic.url)
    await agent.call(MANAGEMENT_CANISTER, "start_canister", b"", effective_canister_id=CANISTER)
    assert ic.seen[0].path == f"/api/v4/canister/{CANISTER}/call"


async def test_a_certified_rejection_raises(ic: ScriptedIc, agent_for: AgentFor) -> None:
    ic.script(rejected(5, "trapped", "IC0503"))
    with pytest.raises(CertifiedReject) as rejection:
        await greet(agent_for(ic.url))
    reject = rejection.value
    assert (reject.reject_code, reject.message, reject.error_code) == (5, "trapped", "IC0503")


async def test_a_refusal_before_replication_raises(ic: ScriptedIc, agent_for: AgentFor) -> None:
    ic.script(refused(3, "no such canister"))
    with pytest.raises(UncertifiedReject) as rejection:
        await greet(agent_for(ic.url))
    assert rejection.value.reject_code == 3


async def test_a_transient_refusal_is_tried_again(ic: ScriptedIc, agent_for: AgentFor) -> None:
    ic.script(refused(2, "busy"), replied(b"hello"))
    assert await greet(agent_for(ic.url)) == b"hello"
    assert len(set(ic.bodies)) == 1


@pytest.mark.parametrize("served", ["v3/call", "v2/call"])
async def test_older_versions_are_found_and_remembered(ic: ScriptedIc, agent_for: AgentFor, served: str) -> None:
    ic.serves = {served}
    ic.script(refused(4, "no"))
    agent = agent_for(ic.url)
    for _ in range(2):
        with pytest.raises(Rejected):
            await greet(agent)
    tried = [f"v{version}/call" for version in (4, 3, 2)]
    assert ic.asked == [*tried[: tried.index(served) + 1], *[served] * (2 * OWN_PATIENCE + 1)]


async def test_a_newer_version_is_found_again_after_a_while(
    ic: ScriptedIc, agent_for: AgentFor, time: TestTime
) -> None:
    ic.serves = {"v3/call"}
    ic.script(refused(4, "no"))
    agent = agent_for(ic.url)
    with pytest.raises(Rejected):
        await greet(agent)
    ic.serves = {"v3/call", "v4/call"}
    time.now_ns += PROBE_AGAIN_NS
    with pytest.raises(Rejected):
        await greet(agent)
    assert ic.asked[-1] == "v4/call"


async def test_a_version_that_is_taken_away_is_noticed(ic: ScriptedIc, agent_for: AgentFor) -> None:
    ic.serves = {"v3/call"}
    ic.script(refused(4, "no"))
    agent = agent_for(ic.url)
    for served in ("v3/call", "v2/call", "v4/call"):
        ic.serves = {served}
        with pytest.raises(Rejected):
            await greet(agent)
        assert ic.asked[-1] == served


async def test_an_endpoint_without_any_version_refuses(ic: ScriptedIc, agent_for: AgentFor) -> None:
    ic.serves = set()
    with pytest.raises(IcRefused) as refusal:
        await greet(agent_for(ic.url))
    assert refusal.value.status == 404


@pytest.mark.parametrize("version", ["v4/call", "v2/call"])
async def test_after_202_the_status_of_an_own_call_is_read(ic: ScriptedIc, agent_for: AgentFor, version: str) -> None:
    ic.serves = {version, "v3/read_state"}
    ic.script(
        accepted,
        request_state(None),
        http(503),
        request_state({b"status": b"processing"}),
        request_state({b"status": b"replied", b"reply": b"hello"}),
    )
    assert await greet(agent_for(ic.url)) == b"hello"
    served = [kind for kind in ic.asked if kind in ic.serves]
    assert served == [version] + ["v3/read_state"] * 4


async def test_after_202_a_certified_rejection_raises(ic: ScriptedIc, agent_for: AgentFor) -> None:
    leaves = {b"status": b"rejected", b"reject_code": b"\x04", b"reject_message": b"no"}
    ic.script(accepted, request_state(leaves))
    with pytest.raises(Rejected, match="no"):
        await greet(agent_for(ic.url))


async def test_a_call_that_is_never_known_expires(ic: ScriptedIc, agent_for: AgentFor, time: TestTime) -> None:
    def fresh(request: Request | None) -> web.StreamResponse:
        is_call = request is not None and request.request_type == "call"
        answer = accepted(request) if is_call else state(lambda _: {}, time_ns=time.now_ns)(request)
        assert isinstance(answer, web.StreamResponse)
        return answer

    ic.script(fresh)
    with pytest.raises(CallExpired, match="greet"):
        await greet(agent_for(ic.url))


# --- calls that others signed ---------------------------------------------------------------------------------------


async def test_a_clients_call_is_sent_as_it_is(ic: ScriptedIc, agent_for: AgentFor) -> None:
    call = a_clients_call()
    ic.script(replied(b"Ok"))
    assert await agent_for(ic.url).submit(call) == b"Ok"
    assert ic.bodies == [call.body]


async def test_the_same_bytes_are_sent_until_somebody_takes_them(
    ic: ScriptedIc, other_ic: ScriptedIc, agent_for: AgentFor, time: TestTime
) -> None:
    call = a_clients_call()
    ic.script(http(503), http(429, Retry_After="3"), replied(b"Ok"))
    other_ic.script(http(500))
    assert await agent_for(ic.url, other_ic.url).submit(call) == b"Ok"
    assert set(ic.bodies + other_ic.bodies) == {call.body}
    assert len(ic.bodies) == 3
    assert sum(time.slept) >= 3


async def test_a_call_survives_an_endpoint_that_comes_back(
    agent_for: AgentFor, time: TestTime, unused_tcp_port: int
) -> None:
    """Nobody listens at first; the port opens while the agent waits before its third attempt."""
    call = a_clients_call()
    endpoint = ScriptedIc(time, port=unused_tcp_port)
    endpoint.script(replied(b"Ok"))
    agent = agent_for(f"http://127.0.0.1:{unused_tcp_port}")

    async def sleep(seconds: float) -> None:
        await TestTime.sleep(time, seconds)
        if len(time.slept) == 2:
            await endpoint.__aenter__()

    time.sleep = sleep  # type: ignore[method-assign]
    agent = agent_for(f"http://127.0.0.1:{unused_tcp_port}")
    try:
        assert await agent.submit(call) == b"Ok"
    finally:
        await endpoint.__aexit__()
    assert endpoint.bodies == [call.body]


async def test_a_call_without_an_answer_is_sent_again(ic: ScriptedIc, agent_for: AgentFor) -> None:
    never = asyncio.Event()

    async def silent(_: Request | None) -> web.Response:
        await never.wait()
        return web.Response()

    ic.script(silent, replied(b"Ok"))
    assert await agent_for(ic.url, timeout_s=0.05).submit(a_clients_call()) == b"Ok"
    assert len(set(ic.bodies)) == 1
    assert len(ic.bodies) == 2
    never.set()


async def test_after_202_a_clients_call_is_posted_again_and_its_status_never_read(
    ic: ScriptedIc, agent_for: AgentFor
) -> None:
    ic.script(accepted, accepted, replied(b"Ok"))
    assert await agent_for(ic.url).submit(a_clients_call()) == b"Ok"
    assert ic.asked == ["v4/call"] * 3
    assert len(set(ic.bodies)) == 1


async def test_of_a_clients_call_version_2_only_tells_that_it_is_taken(ic: ScriptedIc, agent_for: AgentFor) -> None:
    ic.serves = {"v2/call", "v2/read_state"}
    ic.script(accepted)
    assert await agent_for(ic.url).submit(a_clients_call()) is None
    assert ic.asked == ["v4/call", "v3/call", "v2/call"]


async def test_an_endpoint_that_pretends_to_be_old_and_swallows_calls_is_not_the_only_one_that_is_asked(
    ic: ScriptedIc, other_ic: ScriptedIc, agent_for: AgentFor
) -> None:
    ic.serves = {"v2/call"}
    ic.script(accepted)
    other_ic.script(replied(b"Ok"))
    trouble: list[str] = []
    route = Route(lambda: trouble.append("trouble"))
    assert await agent_for(ic.url, other_ic.url).submit(a_clients_call(), route=route) == b"Ok"
    assert ic.asked[-1] == "v2/call"
    assert trouble, "the call may reach the IC late"


async def test_where_the_others_are_down_acceptance_at_version_2_is_enough_after_a_while(
    ic: ScriptedIc, other_ic: ScriptedIc, agent_for: AgentFor, time: TestTime
) -> None:
    ic.serves = {"v2/call"}
    ic.script(accepted)
    other_ic.script(http(503))
    assert await agent_for(ic.url, other_ic.url).submit(a_clients_call()) is None
    assert ic.asked.count("v2/call") == ENOUGH_ACCEPTANCES
    assert time.now_ns - NOW_NS < 5 * 10**9


async def test_version_2_refuses_with_a_body(ic: ScriptedIc, agent_for: AgentFor) -> None:
    ic.serves = {"v2/call"}
    ic.script(lambda _: cbor({"reject_code": 1, "reject_message": "fatal"}))
    with pytest.raises(Rejected, match="fatal"):
        await agent_for(ic.url).submit(a_clients_call())


async def test_a_call_nobody_takes_expires(ic: ScriptedIc, agent_for: AgentFor, time: TestTime) -> None:
    ic.script(http(503, "stalled"))
    with pytest.raises(CallExpired, match="stalled"):
        await agent_for(ic.url).submit(a_clients_call(lifetime_ns=30 * 10**9))
    assert time.now_ns == NOW_NS + 30 * 10**9
    assert len(set(ic.bodies)) == 1


async def test_a_call_that_waited_too_long_is_not_sent(ic: ScriptedIc, agent_for: AgentFor, time: TestTime) -> None:
    call = a_clients_call(lifetime_ns=10**9)
    time.now_ns += 10**9
    with pytest.raises(CallExpired):
        await agent_for(ic.url).submit(call)
    assert ic.seen == []


async def test_an_expiry_that_the_ic_does_not_take_is_a_refusal(ic: ScriptedIc, agent_for: AgentFor) -> None:
    ic.script(http(400, "Invalid request expiry: Specified ingress_expiry not within expected range"))
    with pytest.raises(IcRefused, match="Invalid request expiry") as refusal:
        await agent_for(ic.url).submit(a_clients_call())
    assert refusal.value.status == 400
    assert len(ic.seen) == 1


async def test_a_forged_certificate_is_never_believed(ic: ScriptedIc, agent_for: AgentFor) -> None:
    ic.script(replied(b"Ok", key=STRANGER))
    with pytest.raises(CertificateSignatureInvalid):
        await agent_for(ic.url).submit(a_clients_call())
    assert len(set(ic.bodies)) == 1


async def test_an_honest_endpoint_settles_what_a_liar_forged(
    ic: ScriptedIc, other_ic: ScriptedIc, agent_for: AgentFor
) -> None:
    ic.script(replied(b"forged", key=STRANGER))
    other_ic.script(replied(b"Ok"))
    assert await agent_for(ic.url, other_ic.url).submit(a_clients_call()) == b"Ok"


async def test_the_certificate_of_another_call_is_no_answer(ic: ScriptedIc, agent_for: AgentFor) -> None:
    """It proves that the call in question is unknown."""
    first, second = a_clients_call(), a_clients_call()
    assert first.request_id != second.request_id

    def about_the_first(_: Request | None) -> web.StreamResponse | object:
        return replied(b"not yours")(first)

    ic.script(about_the_first, replied(b"Ok"))  # type: ignore[arg-type]
    assert await agent_for(ic.url).submit(second) == b"Ok"


async def test_a_call_still_under_way_is_asked_for_again(ic: ScriptedIc, agent_for: AgentFor) -> None:
    ic.script(status(b"processing"), replied(b"Ok"))
    assert await agent_for(ic.url).submit(a_clients_call()) == b"Ok"


async def test_a_cancelled_call_leaves_nothing_behind(ic: ScriptedIc, agent_for: AgentFor) -> None:
    arrived = asyncio.Event()
    never = asyncio.Event()

    async def silent(_: Request | None) -> web.Response:
        arrived.set()
        await never.wait()
        return web.Response()

    ic.script(silent, replied(b"Ok"))
    agent = agent_for(ic.url)
    call = asyncio.create_task(agent.submit(a_clients_call()))
    await arrived.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    never.set()
    assert await agent.submit(a_clients_call()) == b"Ok"


async def test_two_coroutines_lie_between_a_call_and_its_answer(ic: ScriptedIc, agent_for: AgentFor) -> None:
    """Each is paid for at every step. The first attempt is made by those that make all of them."""
    ic.script(replied(b"Ok"))
    call = asyncio.create_task(agent_for(ic.url).submit(a_clients_call()))
    await asyncio.sleep(0)
    names, awaited = list[str](), cast("object", call.get_coro())
    while isinstance(awaited, CoroutineType):
        names.append(awaited.__qualname__)
        awaited = awaited.cr_await
    assert names == ["carry", "Api.ask"]
    assert await call == b"Ok"
