"""The HTTP interface over loopback, with bodies signed by native keys and by agents that nobody here wrote."""

import asyncio
from collections.abc import AsyncIterator
from io import BytesIO
from typing import Any

import aiohttp
import pytest
from aiohttp import web as web_server

from appliance.crypto import (
    CandidTypes,
    SigningKey,
    Verifier,
    decode_cbor,
    encode_cbor,
    hash_of_value,
    verify_signature,
)
from appliance.ic.envelope import SignedRequest, sign_request
from appliance.ic.identity import AnonymousIdentity, DelegatedIdentity, Identity, KeyIdentity, delegate
from appliance.ic.principal import MANAGEMENT_CANISTER, Principal
from appliance.localnet.canisters.management_types import METHODS
from appliance.localnet.http.server import BODY_LIMIT, HttpInterface, Versions
from appliance.localnet.net import Localnet
from appliance.localnet.replica.node import SingleNode
from appliance.localnet.replica.replica import Replica
from appliance.localnet.state.certification import QUERY_DOMAIN, Authority, canister_id
from appliance.localnet.state.clock import ManualClock
from tests import vectors
from tests.localnet.greeter import Greeter
from tests.localnet.machine import SECOND, START

KEY = KeyIdentity(SigningKey.from_secret("ed25519", b"k" * 32))
OTHER = KeyIdentity(SigningKey.from_secret("secp256k1", b"o" * 32))
ANONYMOUS = AnonymousIdentity()
TEXT, NOTHING = CandidTypes("(text)"), CandidTypes("()")


class Web:
    """A local IC with a greeter, and a plain HTTP client."""

    def __init__(self, net: Localnet, clock: ManualClock, client: aiohttp.ClientSession) -> None:
        self.net = net
        self.clock = clock
        self.client = client
        self.greeter = net.create_canister(Greeter())
        self.verifier = Verifier(net.root_key)

    def sign(self, kind: Any, method: str = "greet", arg: bytes = b"", *, who: Identity = KEY, **more: Any) -> Any:
        fields: dict[str, Any] = {"canister_id": self.greeter, "method_name": method, "arg": arg}
        if kind == "read_state":
            fields = {}
        return sign_request(who, kind, **({"now_ns": self.clock.now_ns()} | fields | more))

    async def post(self, path: str, body: bytes, content_type: str = "application/cbor") -> tuple[int, bytes]:
        headers = {"content-type": content_type}
        async with self.client.post(self.net.url + path, data=BytesIO(body), headers=headers) as response:
            return response.status, await response.read()

    async def ask(self, path: str, request: SignedRequest, about: bytes | None = None) -> Any:
        """POST below the canister's path; the decoded answer, or (status, text) where it is not 200 with CBOR."""
        version, name = path.split("/")
        about = Principal(self.greeter if about is None else about)
        status, body = await self.post(f"/api/{version}/canister/{about}/{name}", request.body)
        if status != 200:
            return status, body.decode()
        assert body[:3] == b"\xd9\xd9\xf7"
        return decode_cbor(body)

    async def read(self, paths: list[list[bytes]], version: str = "v3", who: Identity = KEY) -> Any:
        answer = await self.ask(f"{version}/read_state", self.sign("read_state", who=who, paths=paths))
        if isinstance(answer, tuple):
            return answer
        return self.verifier.verify_certificate(answer["certificate"], self.greeter, now_ns=self.clock.now_ns())


@pytest.fixture(params=[False, True], ids=["root", "subnet"])
async def web(request: pytest.FixtureRequest) -> AsyncIterator[Web]:
    clock = ManualClock(START)
    async with Localnet(seed=b"http", subnet=request.param, clock=clock) as net, aiohttp.ClientSession() as client:
        yield Web(net, clock, client)


# --- status, CORS, routes ---


async def test_status(web: Web) -> None:
    async with web.client.get(f"{web.net.url}/api/v2/status") as response:
        assert (response.status, response.content_type) == (200, "application/cbor")
        status = decode_cbor(await response.read())
    assert isinstance(status, dict)
    assert status["root_key"] == web.net.root_key
    assert status["replica_health_status"] == "healthy"
    assert isinstance(status["ic_api_version"], str)
    assert list(status) == [
        "ic_api_version",
        "root_key",
        "impl_version",
        "impl_hash",
        "replica_health_status",
        "certified_height",
    ]


async def test_every_origin_is_welcome(web: Web) -> None:
    url = f"{web.net.url}/api/v2/canister/{web.greeter}/call"
    async with web.client.options(url, headers={"origin": "https://dapp.example"}) as response:
        assert response.status == 200
        assert "POST" in response.headers["access-control-allow-methods"]
        assert "content-type" in response.headers["access-control-allow-headers"]
        assert response.headers["access-control-allow-origin"] == "*"
    for path in ("/api/v2/status", "/nowhere"):
        async with web.client.get(web.net.url + path) as response:
            assert response.headers["access-control-allow-origin"] == "*"


async def test_versions_that_are_not_served_are_not_found(web: Web) -> None:
    for path in ("v5/call", "v1/query", "v4/query", "v4/read_state", f"v{'9' * 5000}/call"):
        assert (await web.ask(path, web.sign("query")))[0] == 404
    async with Localnet(clock=web.clock, versions=Versions.only(2)) as old:
        served = Web(old, web.clock, web.client)
        assert (await served.ask("v3/call", served.sign("call", "count", NOTHING.encode())))[0] == 404
        assert (await served.ask("v2/call", served.sign("call", "count", NOTHING.encode())))[0] == 202


# --- query ---


@pytest.mark.parametrize("version", ["v2", "v3"])
async def test_a_query_is_answered_and_signed_by_a_node_of_the_subnet(web: Web, version: str) -> None:
    request = web.sign("query", "greet", TEXT.encode("Alice"))
    answer = await web.ask(f"{version}/query", request)
    assert TEXT.decode(answer["reply"]["arg"]) == ("Hello, Alice!",)
    await check_signature(web, request, answer, {"status": "replied", "reply": answer["reply"]})


async def test_a_rejected_query_is_signed_too(web: Web) -> None:
    request = web.sign("query", "missing")
    answer = await web.ask("v3/query", request)
    rejection = {key: answer[key] for key in ("status", "reject_code", "reject_message", "error_code")}
    assert (rejection["status"], rejection["reject_code"], rejection["error_code"]) == ("rejected", 5, "IC0536")
    await check_signature(web, request, answer, rejection)


async def check_signature(web: Web, request: SignedRequest, answer: Any, signed: dict[str, Any]) -> None:
    (signature,) = answer["signatures"]
    tree = await web.read([[b"subnet"]])
    key = tree.lookup([b"subnet", web.net.subnet_id, b"node", signature["identity"], b"public_key"])
    content = signed | {"timestamp": signature["timestamp"], "request_id": request.request_id}
    verify_signature(key, signature["signature"], QUERY_DOMAIN + hash_of_value(content))
    assert abs(signature["timestamp"] - web.clock.now_ns()) < SECOND


async def test_a_query_of_a_canister_that_is_not_there(web: Web) -> None:
    nowhere = canister_id(77)
    answer = await web.ask("v2/query", web.sign("query", canister_id=nowhere), nowhere)
    assert (answer["reject_code"], answer["reject_message"]) == (3, f"Canister {nowhere} not found")


# --- call ---


@pytest.mark.parametrize("version", ["v3", "v4"])
async def test_a_synchronous_call_is_answered_with_its_certificate(web: Web, version: str) -> None:
    request = web.sign("call", "count", NOTHING.encode())
    answer = await web.ask(f"{version}/call", request)
    assert answer["status"] == "replied"
    tree = web.verifier.verify_certificate(answer["certificate"], web.greeter, now_ns=web.clock.now_ns())
    path = [b"request_status", request.request_id]
    assert tree.lookup([*path, b"status"]) == b"replied"
    assert tree.lookup([*path, b"reply"]) == CandidTypes("(nat)").encode(1)
    again = await web.ask(f"{version}/call", request)
    assert again["status"] == "replied"
    assert CandidTypes("(nat)").decode(await certified_reply(web)) == (2,)


async def certified_reply(web: Web) -> bytes:
    request = web.sign("call", "count", NOTHING.encode())
    answer = await web.ask("v4/call", request)
    tree = web.verifier.verify_certificate(answer["certificate"], web.greeter, now_ns=web.clock.now_ns())
    reply = tree.lookup([b"request_status", request.request_id, b"reply"])
    assert reply is not None
    return reply


async def test_a_rejected_call_is_certified(web: Web) -> None:
    request = web.sign("call", "missing")
    answer = await web.ask("v4/call", request)
    assert answer["status"] == "replied"
    tree = web.verifier.verify_certificate(answer["certificate"], web.greeter, now_ns=web.clock.now_ns())
    path = [b"request_status", request.request_id]
    assert tree.lookup([*path, b"status"]) == b"rejected"
    assert tree.lookup([*path, b"reject_code"]) == b"\x05"
    assert b"Canister has no update method 'missing'" in (tree.lookup([*path, b"reject_message"]) or b"")


async def test_an_asynchronous_call_is_found_by_its_sender(web: Web) -> None:
    request = web.sign("call", "count", NOTHING.encode())
    assert await web.ask("v2/call", request) == (202, "")
    await web.net.replica.settle()
    assert await web.ask("v2/call", request) == (202, "")
    path = [b"request_status", request.request_id]
    tree = await web.read([path], "v2")
    assert tree.lookup([*path, b"reply"]) == CandidTypes("(nat)").encode(1)
    foreign = await web.read([path], "v2", OTHER)
    assert foreign == (403, "The user tries to access Request ID not signed by the caller.")
    absent = await web.read([[b"request_status", b"\x07" * 32]], "v2")
    assert absent.lookup([b"request_status", b"\x07" * 32, b"status"]) is None


async def test_a_call_to_nobody_is_refused_before_anything_is_executed(web: Web) -> None:
    nowhere = canister_id(77)
    request = web.sign("call", canister_id=nowhere)
    text = f"Canister {nowhere} not found"
    rejection = {"reject_code": 3, "reject_message": text, "error_code": "IC0301"}
    assert await web.ask("v2/call", request, nowhere) == rejection
    assert await web.ask("v4/call", request, nowhere) == {"status": "non_replicated_rejection", **rejection}


async def test_a_duplicate_in_flight_is_accepted_only(web: Web) -> None:
    request = web.sign("call", "count", NOTHING.encode())
    opened = web.verifier.open_request(request.body, now_ns=web.clock.now_ns())
    call = web.net.replica.submit(opened)
    await web.net.replica.settle()
    call.done.clear()  # as if it were being executed still
    assert await web.ask("v4/call", request) == (202, "")
    call.done.set()
    assert (await web.ask("v4/call", request))["status"] == "replied"


async def test_a_call_that_is_not_executed_in_time_is_accepted_only(web: Web) -> None:
    replica = Replica(Authority(seed=b"http"), web.clock)  # it does not run
    canister = replica.create_canister(Greeter())
    runner = web_server.AppRunner(HttpInterface(replica, nodes=SingleNode(replica, call_wait_s=0.01)).application())
    await runner.setup()
    try:
        await web_server.TCPSite(runner, "127.0.0.1", 0).start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}/api/v4/canister/{canister}/call"
        body = web.sign("call", "count", NOTHING.encode()).body
        async with web.client.post(url, data=body, headers={"content-type": "application/cbor"}) as response:
            assert (response.status, await response.read()) == (202, b"")
    finally:
        await runner.cleanup()


async def test_calls_at_once_are_all_answered(web: Web) -> None:
    calls = [web.ask("v4/call", web.sign("call", "count", NOTHING.encode())) for _ in range(30)]
    answers = await asyncio.gather(*calls)
    assert {answer["status"] for answer in answers} == {"replied"}
    assert await certified_reply(web) == CandidTypes("(nat)").encode(31)


# --- read_state ---


async def test_the_state_of_a_canister_and_of_the_subnet(web: Web) -> None:
    root = [b"canister", web.greeter]
    paths = [[*root, b"metadata", b"candid:service"], [*root, b"module_hash"], [b"time"]]
    tree = await web.read(paths, who=ANONYMOUS)
    assert tree.lookup(paths[0]) == Greeter.did.encode()
    assert len(tree.lookup(paths[1])) == 32
    assert tree.time_ns >= START
    subnet = web.net.subnet_id
    for version in ("v2", "v3"):
        request = web.sign("read_state", who=ANONYMOUS, paths=[[b"subnet", subnet], [b"canister_ranges", subnet]])
        status, body = await web.post(f"/api/{version}/subnet/{subnet}/read_state", request.body)
        assert status == 200
        answer = decode_cbor(body)
        assert isinstance(answer, dict)
        now_ns = web.clock.now_ns()
        verified = web.verifier.verify_subnet_certificate(answer["certificate"], subnet, now_ns=now_ns)
        assert len(verified.children([b"canister_ranges", subnet])) == 1
        assert len(verified.children([b"subnet", subnet, b"node"])) == 1


async def test_paths_that_are_not_for_everybody(web: Web) -> None:
    assert await web.read([[b"canister", web.greeter, b"certified_data"]]) == (404, "Invalid path requested.")


# --- what is refused ---


async def test_a_request_must_not_be_expired_or_far_ahead(web: Web) -> None:
    for lifetime_ns in (-SECOND, 331 * SECOND):
        for kind, path in (("call", "v4/call"), ("query", "v2/query"), ("read_state", "v3/read_state")):
            paths = [[b"time"]] if kind == "read_state" else None
            status, text = await web.ask(path, web.sign(kind, lifetime_ns=lifetime_ns, paths=paths))
            assert status == 400
            assert text.startswith(
                "Invalid request expiry: Specified ingress_expiry not within expected range: "
                "Minimum allowed expiry: 2027-01-15 08:00:00 UTC, Maximum allowed expiry: 2027-01-15 08:05:30 UTC, "
                "Provided expiry:        2027-01-15 0"
            )


async def test_what_nobody_signed_is_refused(web: Web) -> None:
    body = bytearray(web.sign("call", "count", NOTHING.encode()).body)
    position = body.find(b"count")
    body[position] ^= 1
    status, text = await web.post(f"/api/v4/canister/{web.greeter}/call", bytes(body))
    assert status == 400
    assert text.startswith(b"Invalid signature: Invalid basic signature: ")
    assert (await certified_reply(web)) == CandidTypes("(nat)").encode(1)


@pytest.mark.parametrize("name", ["call", "query", "read_state"])
async def test_bodies_that_are_no_requests(web: Web, name: str) -> None:
    path = f"/api/v2/canister/{web.greeter}/{name}"
    status, text = await web.post(path, b"\xff\xff")
    assert (status, text[:35]) == (400, b"Failed to deserialize cbor request:")
    assert (await web.post(path, encode_cbor({"content": {}})))[0] == 400
    wrong_type = (400, b"Unexpected content-type, expected application/cbor.")
    assert await web.post(path, web.sign("query").body, "application/json") == wrong_type
    assert (await web.post(path, bytes(BODY_LIMIT + 1)))[0] == 413


async def test_a_request_of_another_kind_is_refused(web: Web) -> None:
    status, text = await web.ask("v2/query", web.sign("call", "count", NOTHING.encode()))
    assert (status, text) == (400, "Malformed request: request_type is call, expected query")


async def test_the_canister_must_be_that_of_the_address(web: Web) -> None:
    other = canister_id(77)
    text = f"Specified CanisterId {web.greeter} does not match effective canister id in URL {other}"
    for path, kind in (("v2/query", "query"), ("v3/call", "call")):
        assert await web.ask(path, web.sign(kind), other) == (400, text)
    management = await web.ask("v4/call", web.sign("call", "raw_rand", canister_id=MANAGEMENT_CANISTER), other)
    assert management["reject_message"] == "Only canisters can call ic00 method raw_rand"
    status, text_bytes = await web.post("/api/v2/canister/not-a-principal/query", web.sign("query").body)
    assert (status, text_bytes[:12]) == (400, b"Invalid URL:")


async def test_the_management_canister_is_called_at_the_address_of_its_subject(web: Web) -> None:
    other, subnet = canister_id(77), web.net.subnet_id
    subject = {"canister_id": web.greeter}
    start = METHODS["start_canister"].arguments.encode(subject)
    create = METHODS["create_canister"].arguments.encode({"settings": None})

    def call(method: str, arg: bytes) -> SignedRequest:
        return web.sign("call", method, arg, canister_id=MANAGEMENT_CANISTER)

    text = f"Specified CanisterId {web.greeter} does not match effective canister id in URL {other}"
    assert await web.ask("v4/call", call("start_canister", start), other) == (400, text)
    assert (await web.ask("v4/call", call("start_canister", start), web.greeter))["error_code"] == "IC0512"
    for about in (other, MANAGEMENT_CANISTER):
        assert (await web.ask("v4/call", call("create_canister", create), about))["status"] == "replied"
    elsewhere = Principal(b"elsewhere")
    status, text = await web.ask("v4/call", call("create_canister", create), elsewhere)
    assert (status, text) == (400, f"Effective canister id in URL {elsewhere} is not of this subnet")

    async def at_subnet(request: SignedRequest, about: Principal, version: int = 4) -> tuple[int, bytes]:
        return await web.post(f"/api/v{version}/subnet/{about}/call", request.body)

    status, body = await at_subnet(call("create_canister", create), subnet)
    assert (status, b"replied" in body) == (200, True)
    assert (await at_subnet(call("create_canister", create), other))[0] == 400
    assert (await at_subnet(call("start_canister", start), subnet))[0] == 400
    assert (await at_subnet(web.sign("call"), subnet))[0] == 400
    assert (await at_subnet(call("create_canister", create), subnet, 3))[0] == 404


async def test_canisters_are_listed_at_the_subnet(web: Web) -> None:
    arg = METHODS["list_canisters"].arguments.encode()
    request = web.sign("query", "list_canisters", arg, canister_id=MANAGEMENT_CANISTER)

    async def asked(about: Principal, version: int = 3) -> tuple[int, bytes]:
        return await web.post(f"/api/v{version}/subnet/{about}/query", request.body)

    status, body = await asked(web.net.subnet_id)
    assert status == 200
    answer: Any = decode_cbor(body)
    (listed,) = METHODS["list_canisters"].results.decode(answer["reply"]["arg"])
    assert listed == {"canisters": [{"start": web.greeter, "end": web.greeter}]}
    assert len(answer["signatures"]) == 1
    assert (await asked(canister_id(77)))[0] == 400
    assert (await asked(web.net.subnet_id, 2))[0] == 404


async def test_delegations_are_held_to_their_targets(web: Web) -> None:
    session = KeyIdentity(SigningKey.from_secret("prime256v1", b"s" * 32))

    def delegated(*targets: bytes) -> DelegatedIdentity:
        link = delegate(KEY, session.public_key, expiration_ns=START + 3600 * SECOND, targets=targets)
        return DelegatedIdentity(session, KEY.public_key, [link])

    request = web.sign("call", "whoami", NOTHING.encode(), who=delegated(web.greeter))
    assert (await web.ask("v4/call", request))["status"] == "replied"
    tree = await web.read([[b"request_status", request.request_id]], who=delegated(web.greeter))
    reply = tree.lookup([b"request_status", request.request_id, b"reply"])
    assert CandidTypes("(principal)").decode(reply) == (KEY.principal,)
    status, text = await web.ask("v4/call", web.sign("call", "whoami", who=delegated(canister_id(77))))
    assert (status, text[:44]) == (400, "Canister is not one of the delegation target")
    foreign = await web.read([[b"request_status", request.request_id]], who=delegated(canister_id(77)))
    assert foreign[0] == 403


# --- agents that nobody here wrote ---


def envelopes() -> list[dict[str, Any]]:
    return vectors.load_json("envelopes.json")["envelopes"]  # type: ignore[no-any-return]


async def test_requests_of_real_agents_are_taken_at_their_time() -> None:
    clock = ManualClock(0)
    async with Localnet(seed=b"agents", clock=clock) as net, aiohttp.ClientSession() as client:
        web = Web(net, clock, client)
        assert str(web.greeter) == "bkyz2-fmaaa-aaaaa-qaaaq-cai"
        for vector in sorted(envelopes(), key=lambda vector: vector["ingress_expiry"]):
            clock.advance(max(0, vector["ingress_expiry"] - 200 * SECOND - clock.now_ns()))
            status, body = await web.post(vector["url"], bytes.fromhex(vector["body"]), vector["content_type"])
            is_asynchronous = vector["url"].startswith("/api/v2/") and vector["url"].endswith("/call")
            assert status == (202 if is_asynchronous else 200), (vector["url"], vector["identity"], body)
            if vector["url"].endswith("/query"):
                assert decode_cbor(body)["status"] == "replied"  # type: ignore[index]
            if vector["url"].endswith("/call") and status == 200:
                request_id = bytes.fromhex(vector["request_id"])
                certificate = decode_cbor(body)["certificate"]  # type: ignore[index]
                tree = web.verifier.verify_certificate(certificate, web.greeter, now_ns=clock.now_ns())
                assert tree.lookup([b"request_status", request_id, b"status"]) in (b"replied", b"rejected")
