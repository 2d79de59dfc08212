from tests.cli.conftest import Icws
from tests.cli.processes import TOP


async def test_those_that_are_loaded_and_what_went_wrong(icws: Icws):
    assert await icws.lines("plugins") == ["no plugin is loaded"]
    log = icws.plane.file.with_name("audit.jsonl")
    with icws.plane.file.open("a") as stream:
        stream.write(f"\nplugins: [{{path: {TOP}/plugins/audit_log.py, config: {{file: {log}}}}}]\n")
    await icws("reload")
    async with icws.plane.connect() as session:
        await session.receive()
    lines = await icws.lines("plugins")
    assert lines[0].split() == ["PLUGIN", "STATE", "CALLS", "FAILED", "SLOW", "HOOKS", "FROM"]
    assert lines[1].split()[0] == "audit_log"
    assert lines[1].endswith("audit_log.py")
    assert (await icws.json("plugins"))["items"][0]["name"] == "audit_log"
