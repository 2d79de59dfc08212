"""Clients of v1 on the bench, whose canister keeps one session of each principal."""

from appliance.crypto import SigningKey
from appliance.protocol.v2 import V2
from tests.gateway.bench import Bench, Shell, until
from tests.gateway.clients import CANISTER, Client


class OneForEachPrincipal(V2):
    """As v1 is, in the words of the canister that the bench has."""

    name = "v1"
    one_for_each_principal = True


def of_v1(bench: Bench) -> Shell:
    """A shell whose client is of v1."""
    shell = bench.connect()
    shell.peer.session = OneForEachPrincipal(bench.gateway.epochs.current.context)
    shell.peer.session.connect()
    return shell


V1 = {"canisters": [{"id": str(CANISTER), "generation": ["v1", "v2"]}]}


async def opened_v1(bench: Bench, key: SigningKey | None = None) -> tuple[Client, Shell]:
    """A client of v1 whose session is open."""
    client, shell = Client() if key is None else Client(key=key), of_v1(bench)
    shell.receive(client.open())
    await until(lambda: shell.was_opened or shell.error)
    assert shell.error is None
    return client, shell
