import asyncio
import json
from pathlib import Path
from typing import Any

from appliance.control.auth.audit import MAX_RECENT, Audit
from appliance.control.models import AuditEntry

WHO = {"actor": "token:ann", "role": "admin", "address": "10.0.0.1"}


async def record(audit: Audit, action: str, **more: Any) -> AuditEntry:
    return await audit.record(action, status=200, **{**WHO, **more})


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


async def test_an_entry_is_told_remembered_and_written(tmp_path: Path) -> None:
    told: list[AuditEntry] = []
    path = tmp_path / "history" / "audit.jsonl"
    audit = Audit(path, on_entry=told.append)
    first = await record(audit, "setLog", before="info", after="debug")
    second = await record(audit, "removeToken", target="bob", problem="not-found")
    assert told == [first, second]
    assert audit.recent() == [second, first]
    assert audit.recent(1) == [second]
    assert [(line["action"], line["before"], line["after"], line["actor"]) for line in lines(path)] == [
        ("setLog", "info", "debug", "token:ann"),
        ("removeToken", None, None, "token:ann"),
    ]
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


async def test_the_order_is_the_same_everywhere(tmp_path: Path) -> None:
    audit = Audit(tmp_path / "audit.jsonl")
    await asyncio.gather(*(record(audit, f"n{number}") for number in range(50)))
    written = [line["action"] for line in lines(tmp_path / "audit.jsonl")]
    assert written == [entry.action for entry in reversed(audit.recent())] == [f"n{number}" for number in range(50)]


async def test_a_full_file_makes_room_for_another(tmp_path: Path) -> None:
    audit = Audit(tmp_path / "audit.jsonl", max_bytes=1)
    for name in ("one", "two", "three"):
        await record(audit, name)
    assert [line["action"] for line in lines(tmp_path / "audit.jsonl")] == ["three"]
    assert [line["action"] for line in lines(tmp_path / "audit.jsonl.1")] == ["two"]


async def test_a_line_that_was_cut_off_spoils_no_other(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    path.write_text('{"action": "half')
    await record(Audit(path), "whole")
    assert [json.loads(line)["action"] for line in path.read_text().splitlines()[1:]] == ["whole"]


async def test_what_cannot_be_written_is_remembered_and_complained_of(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    audit = Audit(tmp_path / "taken" / "audit.jsonl")
    await record(audit, "setLog")
    assert audit.last_error is not None
    assert "Not a directory" in audit.last_error or "File exists" in audit.last_error
    assert len(audit.recent()) == 1
    audit.path = tmp_path / "audit.jsonl"
    await record(audit, "setLog")
    assert audit.last_error is None


async def test_a_link_in_place_of_the_file_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("")
    (tmp_path / "audit.jsonl").symlink_to(tmp_path / "precious")
    audit = Audit(tmp_path / "audit.jsonl")
    await record(audit, "setLog")
    assert audit.last_error is not None
    assert (tmp_path / "precious").read_text() == ""


async def test_memory_is_bounded() -> None:
    audit = Audit(None)
    for number in range(MAX_RECENT + 3):
        await record(audit, f"n{number}")
    assert len(audit.recent()) == MAX_RECENT
    assert audit.recent(1)[0].action == f"n{MAX_RECENT + 2}"
