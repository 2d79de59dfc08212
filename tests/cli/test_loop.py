import asyncio
import os
import signal
import socket

import pytest

from appliance.cli.loop import free_port, interrupts, run


def test_a_taken_port_is_replaced_by_any(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert free_port(port) == 0
    assert capsys.readouterr().err == f"port {port} is taken, using a free one\n"
    assert free_port(port) == port


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_sets_the_event_and_means_afterwards_what_it_did_before(number: signal.Signals) -> None:
    async def interrupted() -> bool:
        with interrupts() as event:
            os.kill(os.getpid(), number)
            async with asyncio.timeout(10):
                return await event.wait()

    before = signal.getsignal(number)
    assert run(interrupted())
    assert signal.getsignal(number) == before
