"""The whole examination, at gateways that run and where none does."""

from pathlib import Path

import pytest

from appliance.localnet.websocket.pingpong import PingPong
from tests.cli.conftest import Icws
from tests.control.plane import OTHER

STEPS = ["1 reply", "2 time", "3 delegation", "4 canister", "5 signature", "6 data", "7 witness", "8 gateway"]


@pytest.fixture(autouse=True)
def few_connections(icws: Icws) -> None:
    """A limit of this machine on open files is not what is tested."""
    icws.environment["ICWS_GATEWAY__MAX_CONNECTIONS"] = "10"


async def test_all_is_well(icws: Icws):
    lines = await icws.lines("doctor")
    assert [line for line in lines if line and line[0] != " "] == [
        "configuration",
        "gateway",
        "this machine",
        f"network {icws.plane.localnet.url}",
        f"canister chat ({icws.plane.canister_id})",
        "no faults, no warnings",
    ]
    assert {line[2] for line in lines if line.startswith("  ") and line[2] != " "} == {"✓", "·"}


async def test_a_message_is_proven_step_by_step_and_nothing_is_changed(icws: Icws):
    nothing = await icws.lines("doctor", "chat")
    assert any("no message is queued" in line for line in nothing)
    async with icws.plane.connect() as session:
        await session.receive()
        findings = await icws.json("doctor", "chat")
        verification_steps = [finding for finding in findings if finding["topic"] == "one message, step by step"]
        assert [step["subject"] for step in verification_steps] == STEPS
        assert {step["level"] for step in verification_steps} == {"ok"}
        assert len(list(icws.plane.gateway.connections)) == 1


async def test_a_session_is_opened_where_that_is_wanted(icws: Icws):
    findings = await icws.json("doctor", str(icws.plane.canister_id), "--open")
    opened = [finding for finding in findings if finding["topic"] == "a session through the gateway"]
    assert [(finding["subject"], finding["level"]) for finding in opened] == [
        ("session", "ok"),
        ("first message", "ok"),
    ]
    assert [each["subject"] for each in findings if each["topic"] == "one message, step by step"] == STEPS
    assert icws.plane.gateway.counters.delivered == 2


async def test_what_is_wrong_is_named_with_what_to_do_and_is_exit_code_1(icws: Icws):
    await icws("drain", "start")
    text = (await icws("doctor", "chat", "--open", code=1)).stdout
    assert "the gateway is draining" in text
    assert "a session through the gateway\n  ✗ session" in text
    assert "→ `icws explain` shows what the gateway saw" in text
    last = text.splitlines()[-1]
    assert last.startswith("2 faults, ")


async def test_plugins_are_loaded(icws: Icws):
    file = icws.plane.file
    (file.parent / "good.py").write_text("from appliance.plugins import hook\n@hook\ndef close(): pass\n")
    file.write_text(f"{file.read_text()}plugins: [{{path: good.py}}, {{path: none.py}}]\n")
    text = " ".join((await icws("doctor", "--offline", code=1)).stdout.split())
    assert f"✓ good {file.parent}/good.py can be loaded" in text
    assert "none.py cannot be read: No such file or directory" in text


async def test_a_canister_that_is_not_listed(icws: Icws):
    other = icws.plane.localnet.create_canister(PingPong())
    findings = await icws.json("doctor", str(other))
    assert [(each["subject"], each["level"]) for each in findings if each["topic"] == f"canister {other}"] == [
        ("listed", "warning"),
        ("installed", "ok"),
        ("methods", "ok"),
        ("polling", "ok"),
        ("gateway known", "ok"),
    ]
    assert "there is no such canister" in (await icws("doctor", OTHER, code=1)).stdout
    assert "is neither the name of a listed canister nor a principal" in (await icws("doctor", "nobody", code=1)).stderr


async def test_without_the_network(icws: Icws):
    await icws.plane.localnet.stop_http()
    assert "network " not in (await icws("doctor", "--offline", code=1)).stdout, "the running gateway sees it, too"
    findings = await icws.json("doctor", code=1)
    assert [(each["subject"], each["level"]) for each in findings if each["topic"].startswith("network")] == [
        ("endpoint", "fault")
    ]
    await icws.plane.localnet.start_http()


async def test_a_broken_file_is_found_and_the_running_gateway_too(icws: Icws):
    icws.plane.file.write_text("gateway: {listn: 1}\ncontrol: {listen: unix:control.sock}\n")
    text = (await icws("doctor", code=1)).stdout
    assert f"✗ file            {icws.plane.file}:1:11: gateway.listn: unknown key" in text
    assert "→ icws config explain gateway\n" in text
    assert "✓ gateway         icws" in text


async def test_where_nothing_is_set_up_it_goes_by_the_defaults(icws: Icws, tmp_path: Path):
    icws.environment |= {"ICWS_CONFIG": str(tmp_path / "gateway.yaml"), "ICWS_NETWORK__URL": icws.plane.localnet.url}
    icws.environment |= {"ICWS_NETWORK__ROOT_KEY": "fetch", "ICWS_GATEWAY__LISTEN": "127.0.0.1:0"}
    found = {each["subject"]: each for each in await icws.json("doctor", str(icws.plane.canister_id))}
    assert "the checks use the defaults" in found["file"]["text"]
    assert found["gateway"]["level"] == found["identity"]["level"] == "note"
    assert found["methods"]["level"] == "ok"
    assert not (tmp_path / "data").exists(), "nothing is made"


async def test_wrong_usage_is_2(icws: Icws):
    await icws("doctor", "--open", code=2)
    await icws("doctor", "chat", "--open", "--offline", code=2)
