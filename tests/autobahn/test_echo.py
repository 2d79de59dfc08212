"""The session that the suite talks to: messages come back through the gateway's own connection."""

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode

from tests.autobahn.echo import echoing


async def test_messages_come_back_as_they_were() -> None:
    async with echoing() as url, connect(url, compression=None) as socket:
        for message in ("täxt", b"bytes", "", bytes(70_000)):
            await socket.send(message)
            assert await socket.recv() == message
        await socket.send([b"in ", b"three ", b"parts"])
        assert await socket.recv() == b"in three parts"
        await socket.close(3000)
        assert socket.close_code == 3000


async def test_text_that_is_none_is_refused() -> None:
    async with echoing() as url, connect(url, compression=None) as socket:
        socket.transport.write(Frame(Opcode.TEXT, b"\xff").serialize(mask=True))
        with pytest.raises(ConnectionClosed) as caught:
            await socket.recv()
        assert caught.value.rcvd is not None
        assert caught.value.rcvd.code == 1007
