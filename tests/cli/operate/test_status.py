import re

from tests.cli.conftest import Icws


async def test_the_gateway_at_a_glance(icws: Icws):
    async with icws.plane.connect() as session:
        await session.receive()
        text = (await icws("status")).stdout
    assert f"principal      {icws.plane.gateway.principal}\n" in text
    assert f"listening at   {icws.plane.control.listener.url}\n" in text
    assert "now            1 open session on 1 connection; 1 canister listed\n" in text
    assert re.search(r"^calls +\d+ of at most 5 000 under way$", text, re.MULTILINE)
    assert f"configuration  revision 1 ({icws.plane.reloads.hash[:12]}) of {icws.plane.file}\n" in text
    assert "ready: ok\n" in text
    assert "  ✓ listener " in text
    assert "canister to polled" in text


async def test_it_says_what_is_wrong_and_what_waits(icws: Icws):
    icws.plane.file.write_text(icws.plane.file.read_text() + "polling: {min_interval: 3}\n")
    await icws("reload", code=78)
    lines = await icws.lines("status")
    assert any("the file differs from the active configuration; `icws plan` shows how" in line for line in lines)
    assert any(line.startswith("last reload    rejected ") for line in lines)
    assert any("the key is there twice" in line for line in lines)


async def test_a_health_check_fails_while_clients_are_not_to_come(icws: Icws):
    await icws("status", "--ready")
    await icws("drain", "start")
    failing = await icws("status", "--ready", code=1)
    assert "draining" in failing.stdout.splitlines()[0]
    assert "ready: failing" in failing.stdout
    assert "  ✗ accepting " in failing.stdout
    await icws("status")
    await icws("drain", "cancel")
    await icws("status", "--ready")


async def test_programs_get_all_three_answers(icws: Icws):
    answer = await icws.json("status")
    assert set(answer) == {"status", "ready", "stats"}
    assert answer["status"]["gateway_principal"] == str(icws.plane.gateway.principal)
    assert {check["name"] for check in answer["ready"]["checks"]} >= {"started", "listener"}
    assert answer["stats"]["counters"]["polls"] == icws.plane.gateway.counters.polls
