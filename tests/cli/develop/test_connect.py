"""``icws connect`` against a whole network."""

import asyncio
import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from appliance.cli.develop import connect as command
from appliance.cli.main import main
from appliance.client import Message
from appliance.client.sessions.session import Generation
from appliance.config.schema import Log
from appliance.localnet.websocket.pingpong import APP_MESSAGE
from appliance.log import configure_logging
from tests.cli.processes import icws
from tests.network import Network, running

DID = f"""
type AppMessage = {APP_MESSAGE};
service : {{ ws_message : (record {{ msg : reserved }}, opt AppMessage) -> (variant {{ Ok; Err : text }}) }}
"""


@pytest.fixture(autouse=True)
def log_on_stderr() -> None:
    """By default structlog prints to standard output, which commands in this process own."""
    configure_logging(Log(level="warning"))


async def talk(
    network: Network, lines: str | bytes, *options: str, url: str | None = None
) -> tuple[int, list[str], str]:
    """Run the command in a thread with these lines as its input: exit code, lines of output, errors."""
    arguments = ["connect", url or network.url, str(network.canister_id), "--network", network.localnet.url, *options]
    result = await asyncio.to_thread(CliRunner().invoke, main, arguments, input=lines)
    return result.exit_code, result.stdout.splitlines(), result.stderr


@pytest.mark.parametrize("generation", ["v0", "v1", "v2"])
async def test_the_answer_to_a_piped_line_is_not_lost(generation: Generation) -> None:
    async with running(generation=generation) as network:
        code, lines, _ = await talk(network, "hi\n", "--count", "2", "--wait", "60")
    assert (code, lines) == (0, ["ping", "hi ping"])


async def test_the_generation_may_be_named() -> None:
    listening = {"listen": "127.0.0.1:0", "generation": "v1"}
    async with running(generation="v1", gateway=listening) as network:
        options = ("--generation", "v1", "--count", "1")
        code, lines, stderr = await talk(network, "", *options, url=network.listener.url)
    assert (code, lines) == (0, ["ping"]), stderr


async def test_the_last_answer_ends_it_although_the_input_goes_on() -> None:
    """In a process, as only a pipe stays open."""
    async with running() as network:
        arguments = ("connect", network.url, str(network.canister_id), "--network", network.localnet.url)
        async with icws(*arguments, "--count", "2", stdin=asyncio.subprocess.PIPE) as process:
            assert process.stdin is not None
            process.stdin.write(b"one\n")
            await process.stdin.drain()
            assert await process.wait() == 0
            assert process.stdout is not None
            assert process.stderr is not None
            assert await process.stdout.read() == b"ping\none ping\n"
            assert b"Traceback" not in await process.stderr.read()


class Arriving:
    """A session whose one message arrives when the test sets it."""

    def __init__(self) -> None:
        self.message = asyncio.get_running_loop().create_future()

    async def receive(self) -> Any:
        return await self.message


@pytest.mark.parametrize("message_first", [True, False])
async def test_the_last_message_and_the_end_of_the_input_may_come_in_the_same_turn_of_the_loop(
    message_first: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    session, lines = Arriving(), asyncio.Queue[bytes | None]()
    monkeypatch.setattr(command, "_stdin_lines", lambda: lines)

    @asynccontextmanager
    async def opening() -> AsyncIterator[Any]:
        yield session

    conversation = command.Conversation(plain=False, count=1, wait_s=0)
    talking = asyncio.create_task(conversation.run(opening(), "a canister"))
    for _ in range(5):  # until both wait
        await asyncio.sleep(0)
    message = Message("hi", sequence_num=1, timestamp_ns=0, certified_at_ns=0, session=1)
    happenings = [lambda: session.message.set_result(message), lambda: lines.put_nowait(None)]
    for happen in happenings if message_first else reversed(happenings):
        happen()
    await talking
    assert capsys.readouterr().out == '"hi"\n'


class Endless(io.RawIOBase):
    """A standard input of lines without end, which counts them."""

    def __init__(self) -> None:
        self.read_count = 0
        self.buffer = self

    def readline(self, size: int | None = -1, /) -> bytes:
        self.read_count += 1
        return b"%d\n" % self.read_count


async def test_no_more_lines_are_read_than_wait_to_be_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    stdin = Endless()
    monkeypatch.setattr(command.sys, "stdin", stdin)
    lines = command._stdin_lines()
    for number in range(1, 2000):
        assert await lines.get() == b"%d\n" % number
        assert stdin.read_count <= number + command.LINES + 1


@pytest.mark.parametrize("end", [b"\n", b""])
def test_a_line_that_is_too_long_is_no_message_and_the_next_one_is(end: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "MAX_LINE", 5)
    stream = io.BytesIO(b"12345678901234567\n1234\n12345" + end)
    long, *others = command._read_lines(stream)
    assert others == [b"1234\n", b"12345" + end]
    with pytest.raises(command._LineTooLong):
        command._checked(long)
    assert [command._checked(line) for line in others] == others


@pytest.mark.parametrize("wait", ["0", "0.01"])
async def test_without_patience_the_end_of_the_input_is_the_end(wait: str) -> None:
    async with running() as network:
        code, lines, stderr = await talk(network, "", "--wait", wait)
        assert code == 0, stderr
        assert lines in ([], ["ping"])
        await network.gateway.stop()
        assert network.gateway.counters.farewells == 1


async def test_lines_are_json_with_a_type_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "chat.did"
    file.write_text(DID)
    lines = '{"text": "a", "timestamp": 1}\n{"text": "b", "timestamp": 1}\n'
    async with running() as network:
        for options in (["--type", str(file)], ["--type", str(file), "--type-name", "AppMessage"], ["--json"]):
            code, printed, stderr = await talk(network, lines, *options, "--count", "3", "--wait", "60")
            assert code == 0, stderr
            assert ['"text": "a ping"' in printed[1], '"text": "b ping"' in printed[2]] == [True, True]


@pytest.mark.parametrize("generation", ["v0", "v2"])
async def test_a_line_that_does_not_fit_costs_that_line_only(generation: Generation) -> None:
    lines = 'no json\n{"text": 1.5}\n{"text": "a", "timestamp": 1}\n'
    async with running(generation=generation) as network:
        code, printed, stderr = await talk(network, lines, "--json", "--count", "2", "--wait", "60")
    assert code == 0
    assert '"text": "a ping"' in printed[1]
    assert stderr.count("not sent") == 2


async def test_a_line_that_is_no_text_costs_that_line_only() -> None:
    async with running() as network:
        code, printed, stderr = await talk(network, b"\xff\xfe\nhi\r\n", "--count", "2", "--wait", "60")
    assert (code, printed) == (0, ["ping", "hi ping"])
    assert "not sent, the line is not text in UTF-8: invalid start byte at byte 1" in stderr


async def test_what_ends_the_session_is_told() -> None:
    async with running() as network:
        code, lines, stderr = await talk(network, "close\n", "--wait", "60")
    assert (code, lines) == (1, ["ping"])
    assert "ClosedByApplication" in stderr


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["ws://127.0.0.1:9/v2", "aaaaa-aa", "--generation", "v1"], "v1 is chosen, but the path"),
        (["ws://127.0.0.1:9/v0", "aaaaa-aa"], "network_url"),
        (["ws://127.0.0.1:9/v0", "aaaaa-aa", "--network", "http://127.0.0.1:9", "--type", "text"], "message_type"),
        (["ws://127.0.0.1:9", "aaaaa-aa", "--root-key", "00"], "root_key"),
        (["ws://127.0.0.1:9", "aaaaa-aa", "--count", "0"], "--count"),
        (["ws://127.0.0.1:9", "aaaaa-aa", "--generation", "v3"], "--generation"),
    ],
)
def test_wrong_usage_is_a_sentence_and_code_2(arguments: list[str], sentence: str) -> None:
    result = CliRunner().invoke(main, ["connect", *arguments])
    assert result.exit_code == 2
    assert sentence in result.output
