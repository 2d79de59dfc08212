"""ic-py: the same principals, keys, request ids, Candid and values in certificates; its agent at the local network."""

import asyncio
from typing import Any

import cbor2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.client import connect
from appliance.crypto import CandidTypes, SigningKey, hash_of_value, verify_signature
from appliance.ic.envelope import sign_request
from appliance.ic.identity import KeyIdentity
from appliance.ic.principal import Principal
from appliance.localnet.net import Localnet
from appliance.localnet.websocket.pingpong import APP_MESSAGE
from tests.localnet.greeter import Greeter
from tests.native.canister import CANISTER, NOW_NS, certificate
from tests.network import running
from tests.oracles.packages import package

candid, identity, principal = package("ic.candid"), package("ic.identity"), package("ic.principal")
agent, client, utils, lookup = package("ic.agent"), package("ic.client"), package("ic.utils"), package("ic.certificate")
Types = candid.Types
SECRETS = st.binary(min_size=32, max_size=32)
CURVES = st.sampled_from(["ed25519", "secp256k1"])


@given(st.binary(max_size=29))
def test_a_principal_has_the_same_text(raw: bytes) -> None:
    text = principal.Principal(raw).to_str()
    assert str(Principal(raw)) == text
    assert Principal.from_text(text) == raw


@settings(max_examples=20, deadline=None)  # its elliptic curves are in Python
@given(CURVES, SECRETS.filter(any), st.binary(max_size=100))
def test_keys_senders_and_signatures_are_the_same(curve: Any, secret: bytes, message: bytes) -> None:
    theirs = identity.Identity(privkey=secret.hex(), type=curve)
    ours = KeyIdentity(SigningKey.from_secret(curve, secret))
    public_key, signature = theirs.sign(message)
    assert ours.principal == theirs.sender().bytes
    verify_signature(public_key, bytes(signature), message)
    assert theirs.verify(message, SigningKey.from_secret(curve, secret).sign(message))


VALUES = st.recursive(
    st.binary(max_size=40) | st.text(max_size=20) | st.integers(0, 2**64 - 1),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(st.characters(codec="ascii"), min_size=1, max_size=12), VALUES, max_size=6))
def test_a_request_has_the_same_id(request: dict[str, Any]) -> None:
    assert hash_of_value(request) == utils.to_request_id(request)


def test_a_signed_call_is_the_one_that_it_would_sign() -> None:
    ours = KeyIdentity(SigningKey.from_secret("ed25519", bytes(range(32))))
    call = sign_request(ours, "call", now_ns=NOW_NS, canister_id=CANISTER, method_name="m", arg=b"DIDL\0\0")
    fields = cbor2.loads(call.body)
    envelope = fields.value if isinstance(fields, cbor2.CBORTag) else fields
    request_id, theirs = agent.sign_request(envelope["content"], identity.Identity(privkey=bytes(range(32)).hex()))
    assert call.request_id == request_id
    assert cbor2.loads(theirs) == envelope


# --- Candid ---

TYPES: list[tuple[str, Any, st.SearchStrategy[Any]]] = [
    ("nat", Types.Nat, st.integers(0, 2**70)),
    ("int", Types.Int, st.integers(-(2**70), 2**70)),
    ("nat64", Types.Nat64, st.integers(0, 2**64 - 1)),
    ("int32", Types.Int32, st.integers(-(2**31), 2**31 - 1)),
    ("text", Types.Text, st.text(max_size=30)),
    ("bool", Types.Bool, st.booleans()),
    ("float64", Types.Float64, st.floats(allow_nan=False)),
    ("vec text", Types.Vec(Types.Text), st.lists(st.text(max_size=5), max_size=5)),
    (
        "record {name: text; number: nat64}",
        Types.Record({"name": Types.Text, "number": Types.Nat64}),
        st.fixed_dictionaries({"name": st.text(max_size=9), "number": st.integers(0, 2**64 - 1)}),
    ),
    (
        "variant {Ok: nat; Err: text}",
        Types.Variant({"Ok": Types.Nat, "Err": Types.Text}),
        st.one_of(
            st.integers(0, 99).map(lambda number: {"Ok": number}), st.text(max_size=9).map(lambda text: {"Err": text})
        ),
    ),
]


@pytest.mark.parametrize(("text", "theirs", "values"), TYPES, ids=[text for text, *_ in TYPES])
@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_a_value_is_encoded_for_each_other(
    text: str, theirs: Any, values: st.SearchStrategy[Any], data: st.DataObject
) -> None:
    ours, value = CandidTypes(f"({text})"), data.draw(values)
    (back,) = ours.decode(candid.encode([{"type": theirs, "value": value}]))
    assert back == value
    assert candid.decode(ours.encode(value), theirs)[0]["value"] == value


# --- certificates ---


@given(st.binary(min_size=1, max_size=32))
def test_a_value_in_a_certificate_is_found(data: bytes) -> None:
    raw = cbor2.loads(certificate(data))
    tree = raw.value if isinstance(raw, cbor2.CBORTag) else raw
    assert lookup.lookup([b"canister", bytes(CANISTER), b"certified_data"], tree) == data


# --- its agent ---


class Agent(agent.Agent):  # type: ignore[misc]
    """With cbor2 6, which it allows, ic-py 1.0 takes no reply that begins with the tag of CBOR: its map is frozen."""

    def query_endpoint(self, canister_id: str, data: bytes) -> dict[str, Any]:
        return dict(super().query_endpoint(canister_id, data))


@pytest.mark.filterwarnings("ignore:Use 'content=<...>':DeprecationWarning")  # of its use of httpx
@pytest.mark.parametrize("curve", ["ed25519", "secp256k1"])
async def test_its_agent_calls_and_queries(curve: str) -> None:
    user, nothing = identity.Identity(type=curve), candid.encode([])
    name = candid.encode([{"type": Types.Text, "value": "ann"}])
    async with Localnet() as net:
        canister, caller = str(net.create_canister(Greeter())), Agent(user, client.Client(net.url))

        async def query(method: str, arg: bytes, kind: Any) -> Any:
            return (await asyncio.to_thread(caller.query_raw, canister, method, arg, kind))[0]["value"]

        async def update(method: str, arg: bytes, kind: Any) -> Any:
            return (await asyncio.to_thread(caller.update_raw, canister, method, arg, kind, delay=0.01))[0]["value"]

        assert await query("greet", name, Types.Text) == "Hello, ann!"
        assert await update("count", nothing, Types.Nat) == 1  # a second one within the second would be the same call
        assert (await query("whoami", nothing, Types.Principal)).to_str() == user.sender().to_str()
        with pytest.raises(Exception, match=r"Rejected: .*nothing"):
            await update("nothing", nothing, Types.Nat)


async def test_an_identity_of_it_is_a_client_of_the_gateway() -> None:
    user = identity.Identity()
    async with (
        running() as network,
        connect(
            network.url,
            network.canister_id,
            identity=user,
            network_url=network.localnet.url,
            message_type=APP_MESSAGE,
        ) as connection,
    ):
        assert str(connection.principal) == user.sender().to_str()
        assert (await connection.receive()).value["text"] == "ping"
