"""Every step on real replies of all generations, and on replies that were tampered with."""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from hashlib import sha256
from typing import Any

import pytest

from appliance.cli.diagnosis.canister import POLL, Polled
from appliance.cli.diagnosis.findings import Finding
from appliance.cli.diagnosis.message import verification_steps
from appliance.client import connect
from appliance.config.schema import Canister, Config, Gateway, Network
from appliance.crypto import CandidTypes, HashTree, Verifier, decode_cbor, encode_cbor
from appliance.ic.agent import Agent
from appliance.ic.http.transport import HttpTransport
from appliance.ic.key_file import create_identity
from appliance.ic.principal import Principal
from appliance.localnet.net import Localnet
from appliance.localnet.websocket.pingpong import PingPong
from appliance.service import serving

KEYS = {"v0": "blob", "v1": "record {client_principal: principal; client_nonce: nat64}"}
PAGE = "record {{messages: vec record {{client_key: {key}; key: text; {content}: blob}}; cert: blob; tree: blob}}"
GENERATIONS = ["v0", "v1", "v2"]
OTHER = Principal(b"\xff" * 10)
"""In no range of a local subnet."""


class Case:
    def __init__(self, reply: bytes, canister_id: Principal, generation: str, root_key: bytes) -> None:
        self.reply = reply
        self.canister_id = canister_id
        self.generation = generation
        self.root_key = root_key
        key, content = KEYS.get(generation, KEYS["v1"]), "val" if generation == "v0" else "content"
        self.types = CandidTypes(f"(variant {{Ok: {PAGE.format(key=key, content=content)}; Err: text}})")
        self.content = content

    def steps(self, reply: bytes | None = None, **changes: Any) -> dict[str, Finding]:
        polled = Polled(self.generation, reply or self.reply, 1)  # type: ignore[arg-type]
        arguments = {"max_age_s": 300.0, "now_ns": time.time_ns(), "root_key": self.root_key, **changes}
        canister_id = arguments.pop("canister_id", self.canister_id)
        return {
            each.subject: each
            for each in verification_steps(polled, canister_id, arguments.pop("root_key"), **arguments)
        }

    def edited(self, edit: Callable[[dict[str, Any]], None]) -> bytes:
        (answer,) = self.types.decode(self.reply)
        edit(answer["Ok"])  # type: ignore[index]
        return self.types.encode(answer)


@asynccontextmanager
async def polled(folder: Any, generation: str, *, subnet: bool = True) -> AsyncIterator[Case]:
    """The reply to a poll after a client opened."""
    identity = create_identity(folder / "identity.pem")
    async with Localnet(subnet=subnet) as net:
        gateway = None if generation == "v2" else identity.principal
        canister = net.create_canister(PingPong(generation=generation, gateway=gateway))  # type: ignore[arg-type]
        config = Config(
            gateway=Gateway(listen="127.0.0.1:0", identity=folder / "identity.pem"),
            network=Network(url=[net.url], root_key=net.root_key.hex()),
            canisters=[Canister(id=canister, generation=[generation])],
        )
        async with (
            serving(config) as service,
            connect(f"{service.url}/{generation}", canister, network_url=net.url) as session,
            HttpTransport([net.url], timeout_s=5, max_reply=10**6) as transport,
        ):
            await session.receive()
            agent = Agent(transport, identity, Verifier(net.root_key))
            reply = await agent.query(canister, "ws_get_messages", POLL.encode({"nonce": 0}))
        yield Case(reply, canister, generation, net.root_key)


@pytest.fixture
async def case(tmp_path: Any, request: pytest.FixtureRequest) -> AsyncIterator[Case]:
    async with polled(tmp_path, getattr(request, "param", "v2")) as found:
        yield found


def faults(found: dict[str, Finding]) -> list[str]:
    return [subject for subject, finding in found.items() if finding.level == "fault"]


@pytest.mark.parametrize("case", GENERATIONS, indirect=True)
async def test_a_message_is_proven_step_by_step(case: Case):
    found = case.steps()
    assert [finding.level for finding in found.values()] == ["ok"] * 8, found
    assert "to subnet" in found["3 delegation"].text
    assert "is responsible for" in found["4 canister"].text
    assert found["8 gateway"].text.startswith("would deliver")


async def test_the_root_key_may_sign_itself(tmp_path: Any):
    async with polled(tmp_path, "v2", subnet=False) as case:
        found = case.steps()
    assert faults(found) == []
    assert found["3 delegation"].text == "none: signed with the root key itself"


async def test_another_root_key(case: Case):
    async with Localnet() as other:
        found = case.steps(root_key=other.root_key)
    assert faults(found) == ["3 delegation", "8 gateway"]
    assert found["4 canister"].level == "note"
    assert "network.root_key" in found["3 delegation"].advice


async def test_an_old_reply(case: Case):
    found = case.steps(now_ns=time.time_ns() + 301 * 10**9)
    assert faults(found) == ["2 time", "8 gateway"]
    assert "the limit is 5m" in found["2 time"].text


async def test_a_canister_of_another_subnet(case: Case):
    found = case.steps(canister_id=OTHER)
    assert faults(found) == ["4 canister", "6 data", "8 gateway"]


async def test_a_content_that_is_not_what_was_certified(case: Case):
    def edit(page: dict[str, Any]) -> None:
        page["messages"][-1][case.content] += b"x"

    found = case.steps(case.edited(edit))
    assert faults(found) == ["7 witness", "8 gateway"]


async def test_a_message_that_was_put_in(case: Case):
    def edit(page: dict[str, Any]) -> None:
        page["messages"][-1]["key"] += "9"

    found = case.steps(case.edited(edit))
    assert "7 witness" in faults(found)
    assert "8 gateway" in faults(found)


async def test_a_tree_that_was_not_certified(case: Case):
    def edit(page: dict[str, Any]) -> None:
        message = page["messages"][-1]
        labels = {b"websocket": {message["key"].encode(): sha256(message["content"]).digest()}}
        page["tree"] = HashTree.from_labels(labels).to_cbor()

    found = case.steps(case.edited(edit))
    assert faults(found) == ["6 data", "8 gateway"]
    assert "certified assets" in found["6 data"].advice


async def test_a_signature_of_somebody_else(case: Case):
    def edit(page: dict[str, Any]) -> None:
        fields: Any = decode_cbor(page["cert"])
        fields["signature"] = fields["delegation"]["certificate"][-48:]
        page["cert"] = encode_cbor(fields)

    found = case.steps(case.edited(edit))
    assert faults(found) == ["5 signature", "8 gateway"]


@pytest.mark.parametrize("reply", [b"", b"DIDL\0\0", b"nonsense"])
async def test_what_is_no_reply(case: Case, reply: bytes):
    assert faults(case.steps(reply or b"x")) == ["1 reply"]


async def test_a_reply_without_messages_or_with_a_broken_proof(case: Case):
    def empty(page: dict[str, Any]) -> None:
        page["messages"] = []

    def cut(page: dict[str, Any]) -> None:
        page["cert"] = page["cert"][:50]

    for edit in (empty, cut):
        found = case.steps(case.edited(edit))
        assert faults(found) == ["1 reply"]
        assert len(found) == 1
