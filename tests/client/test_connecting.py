"""`connect` with and without a block, and the mistakes in its arguments."""

import asyncio
import gc
import sys
from dataclasses import fields

import pytest

from appliance.client import MessageUntrusted, OtherNetwork, connect
from appliance.client.connecting import Arguments, Options, OptionsOfValues
from appliance.errors import CertificateSignatureInvalid
from tests.client.canister import CANISTER_ID
from tests.client.gateways import SETTINGS, LyingGateway, echo
from tests.network import Generation, running


async def test_without_a_block_it_is_awaited_and_closed_by_hand() -> None:
    async with LyingGateway(echo) as gateway:
        connection = await connect(gateway.url, CANISTER_ID, **SETTINGS)
        gc.collect()
        await connection.send({"text": "here"})
        assert (await connection.receive()).value == {"text": "here"}
        await connection.close()
        assert await gateway.closes.get() == (1000, "")


async def test_the_garbage_collector_does_not_close_what_was_entered() -> None:
    async with LyingGateway(echo) as gateway:
        connection = await gateway.connect().__aenter__()  # the manager is not kept
        gc.collect()
        await connection.send({"text": "here"})
        assert (await connection.receive()).value == {"text": "here"}
        await connection.close()


@pytest.mark.parametrize("generation", ["v0", "v1", "v2"])
async def test_nothing_is_left_open_of_a_connection_without_a_block(generation: Generation) -> None:
    """A transport to the IC, in v0, too: aiohttp warns of one that is not closed, and warnings are errors."""
    async with running(generation=generation) as network:
        connection = await network.connect()
        assert (await connection.receive()).value["text"] == "ping"
        await connection.close()
        del connection
        gc.collect()


def test_type_checkers_know_every_argument() -> None:
    """They read the TypedDicts, `connect` itself the data class."""
    arguments = {field.name for field in fields(Arguments)} - {"url", "canister_id"}
    assert Options.__annotations__.keys() | OptionsOfValues.__annotations__.keys() == arguments


def test_an_unknown_argument_is_an_error_at_once() -> None:
    with pytest.raises(TypeError, match="reconect"):
        connect("ws://127.0.0.1:9", CANISTER_ID, reconect=True)


async def test_a_forgotten_network_url_is_named() -> None:
    async with running() as network:
        with pytest.raises(OtherNetwork, match=r"it is not by this key.*give network_url") as caught:
            await connect(network.url, network.canister_id)
    assert isinstance(caught.value, MessageUntrusted)
    assert isinstance(caught.value.cause, CertificateSignatureInvalid)


async def test_a_forgery_under_a_given_key_is_no_forgotten_argument() -> None:
    async with running() as network, running() as other:
        with pytest.raises(MessageUntrusted) as caught:
            await connect(network.url, network.canister_id, root_key=other.localnet.root_key)
    assert type(caught.value) is MessageUntrusted


FORKED = """
import asyncio, os, sys
from icws import connect

async def fails(use):
    try:
        await use
    except RuntimeError as error:
        print(error, flush=True)

async def main(url, canister_id, network_url):
    connection = await connect(url, canister_id, network_url=network_url)
    child = os.fork()
    if child == 0:
        for use in (connection.receive(), connection.send(b""), anext(connection), connection.close()):
            asyncio.new_event_loop().run_until_complete(fails(use))
        os._exit(0)
    os.waitpid(child, 0)
    await connection.receive()
    await connection.close()
    print("the parent goes on", flush=True)

asyncio.run(main(*sys.argv[1:]))
"""


async def test_after_a_fork_there_is_an_error_and_the_parent_keeps_its_connection() -> None:
    async with running() as network:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-W", "ignore", "-c", FORKED),
            *(network.url, str(network.canister_id), network.localnet.url),
            stdout=asyncio.subprocess.PIPE,
        )
        stdout, _ = await process.communicate()
    sentence = f"the connection belongs to process {process.pid}; after fork, connect again"
    assert stdout.decode().splitlines() == [*[sentence] * 4, "the parent goes on"]
