"""Every command of the documentation runs here as it stands, or is listed with the reason why it does not.

Replaced are only the words that stand for the reader's own: ports that may be taken, a session, a canister.
"""

import re
from collections.abc import Iterator

import pytest
from click.testing import CliRunner

from appliance.cli.main import main
from tests.docs.pages import TOP, commands
from tests.docs.world import World, said

FREE = " --port 0 --gateway-port 0"
ON_LOCALNET = "bkyz2-fmaaa-aaaaa-qaaaq-cai"

SERVES = {
    "icws localnet --example ping-pong": ("page:", FREE),
    "icws localnet --example prices": ("page:", FREE),
    "icws localnet --wasm chat.wasm": ("page:", FREE),
    "icws localnet --wasm chat.wasm --like-mainnet": ("page:", FREE),
    "icws localnet --wasm target/chat.wasm": ("page:", FREE),
    "icws run": ("Gateway Agent principal", " --set control.listen=unix:other.sock --set gateway.listen=127.0.0.1:0"),
    f"python docs/examples/chat_bot.py ws://127.0.0.1:8080 {ON_LOCALNET} http://127.0.0.1:4943": ("in the room as", ""),
}
"""Commands that serve until they are interrupted, with the word that shows that they do, and further options."""

WITH_PRICES = {
    f'echo \'{{"Subscribe": ["ICP", "BTC"]}}\' | icws connect ws://127.0.0.1:8080 {ON_LOCALNET} '
    "--network http://127.0.0.1:4943 --type docs/examples/prices.did --count 4": "BTC",
    f"python docs/examples/price_listener.py {ON_LOCALNET} http://127.0.0.1:4943 ICP,BTC ws://127.0.0.1:8080": "BTC",
}
"""Commands for a local network with the prices, with a word of what they print; those with ``--count`` end."""

ENDS = {
    "icws check gateway.yaml": "is valid",
    "icws plan": "no changes",
    "python -m tests.faults --list": "latency",
    "icws status": "principal",
    "icws doctor": "",
    "icws explain SESSION": "connected",
    "icws doctor CANISTER": "",
    "icws demo --once": "the canister has 0 clients",
    "curl --unix-socket data/control.sock http://localhost/v1/status": "version",
    "curl --unix-socket data/control.sock http://localhost/v1/sessions?canister=chat": "items",
    'curl --unix-socket data/control.sock --json \'{"filter": {"address": "203.0.113.0/24"}, "dry_run": true}\' '
    "http://localhost/v1/sessions/close": "matched",
    "curl --unix-socket data/control.sock http://localhost/metrics": "icws_",
}
"""Commands that end, with a word of their output."""

SETS_CLOCK = {
    "curl -H 'Content-Type: application/json' -d '{\"seconds\": 3600}' "
    "http://127.0.0.1:4943/_/api/fast-forward": "time_ms",
}
"""The same at a local network of its own: nothing behind it verifies any more, and tests run in any order."""

NOT_RUN = {
    r"icws (explain|doctor) .*-c FOLDER/.*": "needs the reader's folder; the tests of `icws localnet` ask "
    "a gateway of their own",
    r"icws localnet --wasm old\.wasm .*": "needs a canister on an old CDK; tests/interop/test_old_cdks.py runs it",
    r"make .*": "takes minutes or serves; that the target exists is tested here, and CI makes most of them",
    r"icws bench.*": "measures for minutes; its options are tested here, its scenarios in tests/bench",
    r"python -m pytest benchmarks/.*": "measures for minutes",
    r"python -m benchmarks\.sdk .*": "measures for a minute, and needs Node.js; tests/interop drives the same package",
    r"python -m tests\.faults.*": "takes minutes; tests/faults has a slice of its schedules and its options",
    r"python -m tests\.cluster\.schedules.*": "takes minutes; tests/cluster/schedules has a slice of them",
    r"curl http://127\.0\.0\.1:9464/metrics": "the port of the installed unit may be taken",
    r"npm install .*": "needs a registry; the versions are tested here",
    r"apt install .*": "changes the machine; tests/distribution/installed does it in a Debian of its own",
    r"docker compose .*": "needs an engine; tests/distribution has the steps of the image and its files",
    r"python -m pip install dist/.*": "takes an artefact; tests/distribution/installed does it in an empty environment",
    r"systemd/install\.sh": "changes the machine; tests/systemd has its steps",
    r"systemctl .*": "needs systemd",
    r"journalctl .*": "needs systemd",
    r"editor .*": "is the reader's own",
}
"""Patterns of commands, and why they are not run."""

COMMANDS = commands()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    world = World(tmp_path_factory.mktemp("clone"))
    world.make()
    try:
        world.start()
        yield world
    finally:
        world.stop()


def reason_of(command: str) -> str | None:
    return next((reason for pattern, reason in NOT_RUN.items() if re.fullmatch(pattern, command)), None)


def test_every_command_is_run_or_listed_with_a_reason() -> None:
    known = {*SERVES, *WITH_PRICES, *ENDS, *SETS_CLOCK}
    assert [command for command in COMMANDS if command not in known and reason_of(command) is None] == []


def test_nothing_is_listed_that_no_page_has() -> None:
    assert {*SERVES, *WITH_PRICES, *ENDS, *SETS_CLOCK} <= set(COMMANDS)
    for pattern in NOT_RUN:
        assert any(re.fullmatch(pattern, command) for command in COMMANDS), pattern


@pytest.mark.parametrize("command", SERVES)
def test_a_command_serves(world: World, command: str) -> None:
    word, options = SERVES[command]
    with world.serving(world.placed(command) + options, word):
        pass


@pytest.mark.parametrize("command", WITH_PRICES)
def test_a_command_prints_prices(world: World, command: str) -> None:
    with world.serving("icws localnet --example prices --port 0 --gateway-port 0", "page:") as lines:
        placed = command.replace("http://127.0.0.1:4943", said(lines, "url"))
        placed = placed.replace("ws://127.0.0.1:8080", said(lines, "gateway"))
        if "--count" in command:
            assert WITH_PRICES[command] in world.run(placed)
            return
        with world.serving(placed, WITH_PRICES[command]):
            pass


@pytest.mark.parametrize("command", SETS_CLOCK)
def test_a_command_sets_the_clock(world: World, command: str) -> None:
    with world.serving("icws localnet --example chat --port 0 --no-gateway", "page:") as lines:
        placed = command.replace("http://127.0.0.1:4943", said(lines, "url"))
        assert SETS_CLOCK[command] in world.run(placed)


@pytest.mark.parametrize("command", ENDS)
def test_a_command_succeeds(world: World, command: str) -> None:
    assert ENDS[command] in world.run(world.placed(command))


@pytest.mark.parametrize("command", [command for command in COMMANDS if command.startswith("make ")])
def test_a_target_exists(command: str) -> None:
    targets = re.findall(r"^([a-z-]+):.*## ", (TOP / "Makefile").read_text(), re.MULTILINE)
    assert command.split()[1] in targets


@pytest.mark.parametrize("command", [command for command in COMMANDS if command.startswith("icws bench")])
def test_the_options_of_a_bench_exist(command: str) -> None:
    arguments = command.partition(" > ")[0].replace("PID", "7").split()[1:]
    result = CliRunner().invoke(main, [*arguments, "--help"])
    assert result.exit_code == 0, result.output
