"""``icws bench`` with real processes: counts and losses, never times."""

import asyncio
import json
import signal
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from appliance.bench.testbed import own_testbed
from appliance.cli.exit_codes import EXIT_INTERRUPTED
from appliance.cli.main import main
from appliance.ic.principal import Principal
from tests.cli.processes import icws, seen
from tests.gateway.bench import until

SHORT = ["--clients", "4", "--rate", "40", "--seconds", "1"]


def bench(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["bench", *arguments])


def children_of(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


def still_running(pids: list[str]) -> list[str]:
    return [pid for pid in pids if Path(f"/proc/{pid}").exists()]


def test_a_short_echo_loses_nothing(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    done = bench("echo", *SHORT, "--json", "--html", str(page))
    assert done.exit_code == 0, done.output
    (result,) = json.loads(done.stdout)["results"]
    assert (result["offered"], result["done"], result["frames"]) == (40, 40, 40)
    assert (result["lost"], result["repeated"], result["misrouted"], result["faults"]) == (0, 0, 0, [])
    assert result["verified"] >= 4
    assert result["cpu_us"] > result["loop_cpu_us"] > 0
    assert result["rss"] > 0
    assert sum(count for _, count in result["latency"]["counts"]) == 40
    assert "echo" in page.read_text()
    kept = tmp_path / "kept.json"
    kept.write_text(done.stdout)
    compared = bench("up-20", *SHORT, "--baseline", str(kept))
    assert compared.exit_code == 0, compared.output
    assert "compared with the baseline" in compared.stdout
    assert "times the CPU of the one that the bars were set on: verify BLS" in compared.stdout


async def test_another_gateway_is_measured_at_its_url_by_each_kind_of_scenario() -> None:
    kinds = ["echo", "down-10", "slow-reader", "idle-sessions", "connect-storm", "unsolicited"]
    async with own_testbed({}) as testbed:
        where = ["--target", testbed.target.url, "--principal", str(testbed.target.principal)]
        done = await asyncio.to_thread(bench, *kinds, *SHORT, *where, "--stub", testbed.stub_url, "--json")
    assert done.exit_code == 0, done.output
    results = json.loads(done.stdout)["results"]
    assert [result["scenario"] for result in results] == kinds
    for result in results:
        assert result["done"] == result["offered"] > 0
        assert (result["faults"], result["cpu_us"]) == ([], None)


async def test_a_gateway_with_another_principal_is_a_failure_of_the_scenario() -> None:
    async with own_testbed({}) as testbed:
        other = ["--target", testbed.target.url, "--principal", str(Principal.self_authenticating(b"another"))]
        refused = await asyncio.to_thread(bench, "echo", *SHORT, *other, "--stub", testbed.stub_url)
    assert refused.exit_code == 1
    assert "got no session" in refused.stdout


async def test_the_stub_alone_prints_a_configuration_of_a_gateway_in_front_of_it(tmp_path: Path) -> None:
    async with icws("bench", "--stub-only", "--seed", "tests") as process:
        text = await seen(process.stdout, "--principal PRINCIPAL")
    file = tmp_path / "gateway.yaml"
    file.write_text(text[text.index("version: 1") : text.index("Then, ")])
    checked = await asyncio.to_thread(CliRunner().invoke, main, ["check", str(file)])
    assert checked.exit_code == 0, checked.output
    assert "unlisted_canisters: allow" in file.read_text()


async def test_a_signal_leaves_no_process_behind() -> None:
    async with icws("bench", "echo", *SHORT[:-1], "60") as process:
        await seen(process.stderr, "echo: 4 clients")
        await until(lambda: len(children_of(process.pid)) == 2)
        started = children_of(process.pid)
        process.send_signal(signal.SIGTERM)
        _, stderr = await process.communicate()
    assert process.returncode == EXIT_INTERRUPTED
    assert b"Traceback" not in stderr
    assert not still_running(started)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["dawn"], "there is no scenario 'dawn'"),
        (["--target", "ws://127.0.0.1:1"], "--target needs --principal and --stub"),
        (["--target", "wss://a", "--principal", "aaaaa-aa", "--stub", "http://a"], "--target is a ws:// URL"),
        (["--pid", "1"], "describe the gateway of --target"),
    ],
)
def test_wrong_use_is_explained(arguments: list[str], words: str) -> None:
    done = bench(*arguments)
    assert done.exit_code == 2
    assert words in done.stderr


def test_a_stub_that_is_not_there_is_named() -> None:
    done = bench("--target", "ws://127.0.0.1:1", "--principal", "aaaaa-aa", "--stub", "http://127.0.0.1:1")
    assert done.exit_code == 1
    assert "there is no stub IC at http://127.0.0.1:1" in done.stderr


def test_a_baseline_that_is_no_json_is_named(tmp_path: Path) -> None:
    file = tmp_path / "kept.json"
    file.write_text("table")
    done = bench("echo", *SHORT, "--baseline", str(file))
    assert done.exit_code == 1
    assert "kept.json is no JSON" in done.stderr
