"""Programs that must type-check; never run."""

from pathlib import Path
from typing import TypedDict, assert_type

from icws import CandidValue, Connection, Message, connect
from icws.sync import Connection as SyncConnection
from icws.sync import connect as connect_sync


class Chat(TypedDict):
    name: str
    text: str


async def raw_bytes() -> None:
    async with connect("ws://gateway.example/", "aaaaa-aa") as connection:
        assert_type(connection, Connection[bytes])
        assert_type((await connection.receive()).value, bytes)
        await connection.send(b"bytes")


async def candid(message_type: str | None) -> None:
    connection = await connect("ws://gateway.example/", "aaaaa-aa", message_type=Path("chat.did"), reconnect=True)
    assert_type(connection, Connection[CandidValue])
    await connection.send({"name": "ann", "list": [1, None, {"text": "hello"}]})
    assert_type(await connect("ws://gateway.example/", "aaaaa-aa", message_type=message_type), Connection[CandidValue])
    async with connect("ws://gateway.example/", "aaaaa-aa", generation="v0", network_url="http://127.0.0.1") as v0:
        assert_type(v0, Connection[CandidValue])


async def a_type_of_ones_own() -> None:
    async with connect[Chat]("ws://gateway.example/", "aaaaa-aa", message_type=Path("chat.did")) as chat:
        assert_type(chat, Connection[Chat])
        await chat.send({"name": "ann", "text": "hello"})
        async for message in chat:
            assert_type(message.value["text"], str)
        async for event in chat.events():
            if isinstance(event, Message):
                assert_type(event.value, Chat)


def plainly() -> None:
    with connect_sync[Chat]("ws://gateway.example/", "aaaaa-aa", message_type=Path("chat.did")) as chat:
        assert_type(chat, SyncConnection[Chat])
        assert_type(next(chat).value["name"], str)
    with connect_sync("ws://gateway.example/", "aaaaa-aa") as raw:
        assert_type(raw.receive(timeout=1).value, bytes)
