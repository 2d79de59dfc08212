"""Programs that must not type-check: one fault in each marked line, and in no other; never run."""

from pathlib import Path
from typing import TypedDict

from icws import connect
from icws.sync import connect as connect_sync


class Chat(TypedDict):
    name: str
    text: str


async def mistakes() -> None:
    async with connect("ws://gateway.example/", "aaaaa-aa") as raw:
        await raw.send("text")  # wrong
        (await raw.receive()).value["text"]  # wrong
    async with connect("ws://gateway.example/", "aaaaa-aa", message_type=Path("chat.did")) as candid:
        (await candid.receive()).value.upper()  # wrong
        await candid.send({1, 2})  # wrong
    async with connect[Chat]("ws://gateway.example/", "aaaaa-aa", message_type=Path("chat.did")) as chat:
        await chat.send({"name": "ann"})  # wrong
        (await chat.receive()).value["age"]  # wrong
    connect("ws://gateway.example/", "aaaaa-aa", reconect=True)  # wrong
    with connect_sync("ws://gateway.example/", "aaaaa-aa") as plain:
        plain.send("text")  # wrong
