"""The identity of a running gateway is rotated: new sessions use the new one, and no session is dropped."""

import asyncio
import os
from pathlib import Path

import pytest

from appliance.client import Connection, connect
from appliance.ic.key_file import create_identity
from appliance.identities import default_journal
from appliance.localnet.websocket.pingpong import APP_MESSAGE
from tests.gateway.bench import until
from tests.test_service import House, house


def opening(it: House) -> Connection:
    return connect(it.service.url, it.canister, root_key=it.net.root_key, message_type=APP_MESSAGE)


async def talk(connection: Connection, text: str) -> None:
    await connection.send({"text": text, "timestamp": 0})
    assert (await connection.receive()).value["text"] == f"{text} ping"


async def rotated(it: House, key: Path) -> bool:
    """Whether a reload takes the key that replaces the present one."""
    os.replace(key, it.file.parent / "data" / "identity.pem")
    return await it.reload()


def new_key(folder: Path, name: str = "new.pem") -> Path:
    create_identity(folder / name)
    return folder / name


async def test_the_next_session_uses_the_new_identity_and_no_session_is_dropped(tmp_path: Path) -> None:
    async with house(tmp_path) as it:
        gateway, before = it.service.gateway, it.service.principal
        async with opening(it) as old:
            assert (await old.receive()).value["text"] == "ping"
            assert await rotated(it, new_key(tmp_path))
            assert it.service.principal != before
            assert [change.effect for change in it.control.reloads.last.plan] == ["new sessions"]
            await talk(old, "with the old identity")
            async with opening(it) as new:
                assert (await new.receive()).value["text"] == "ping"
                assert {peer.gateway for peer in gateway.connections} == {before, it.service.principal}
                await asyncio.gather(*(talk(each, str(turn)) for turn in range(5) for each in [old, new][turn % 2 :]))
                assert len(gateway.epochs) == 2
        # The canister takes a close call only from the gateway that the client named.
        await until(lambda: not gateway.pending_close_calls)
        assert gateway.counters.farewells == 2
        assert not gateway.counters.failed_farewells
        await until(lambda: len(gateway.epochs) == 1)
        assert {epoch.principal for epoch in gateway.epochs} == {it.service.principal}


@pytest.mark.parametrize("fault", ["no key", "open to others", "gone"])
async def test_a_key_that_cannot_be_used_is_refused_and_the_old_one_stays(tmp_path: Path, fault: str) -> None:
    file, key = new_key(tmp_path, "data/identity.pem"), new_key(tmp_path)
    async with house(tmp_path) as it:
        before = it.service.principal
        if fault == "no key":
            key.write_text("nothing of the kind")
        elif fault == "open to others":
            key.chmod(0o644)
        if fault == "gone":
            file.unlink()
            assert not await it.reload()
        else:
            assert not await rotated(it, key)
        assert "gateway.identity" in str(it.control.reloads.last.problem)
        assert it.service.principal == before
        async with opening(it) as client:
            assert (await client.receive()).value["text"] == "ping"
        assert await rotated(it, new_key(tmp_path, "another.pem"))
        assert it.service.principal != before


async def test_an_identity_comes_back_while_its_sessions_are_still_there(tmp_path: Path) -> None:
    async with house(tmp_path) as it:
        first, gateway = it.service.principal, it.service.gateway
        kept = (tmp_path / "data" / "identity.pem").read_bytes()
        async with opening(it) as old:
            await old.receive()
            assert await rotated(it, new_key(tmp_path))
            back = tmp_path / "back.pem"
            back.touch(0o600)
            back.write_bytes(kept)
            assert await rotated(it, back)
            assert it.service.principal == first
            assert len(gateway.epochs) == 1  # the other has had no session
            await talk(old, "still here")
            async with opening(it) as new:
                await new.receive()
        await until(lambda: not gateway.pending_close_calls)
        assert gateway.counters.farewells == 2


async def test_a_key_that_the_start_has_created_is_no_change(tmp_path: Path) -> None:
    async with house(tmp_path) as it:
        assert not await it.control.reloads.plan()
        assert await rotated(it, new_key(tmp_path))
        assert not await it.control.reloads.plan()


async def test_the_journal_of_each_identity_is_its_own(tmp_path: Path) -> None:
    """After a crash only the key that opened a session may end it; journals without clients are taken over by any."""
    async with house(tmp_path) as it, opening(it) as old:
        await old.receive()
        first = it.service.gateway.journal
        assert await rotated(it, new_key(tmp_path))
        assert it.service.gateway.journal.file != first.file
    async with house(tmp_path) as it:
        assert it.service.gateway.journal.file == first.file
        assert not list((tmp_path / "data").glob("*.unusable"))


async def test_close_calls_are_left_to_a_process_with_the_same_key_and_journal_alone(tmp_path: Path) -> None:
    key = new_key(tmp_path, "data/identity.pem")
    async with house(tmp_path) as it:
        identities, config = it.service.identities, it.service.gateway.config
        assert identities is not None

        async def are(**gateway: object) -> bool:
            coming = config.model_copy(update={"gateway": config.gateway.model_copy(update=gateway)})
            return await identities.will_be_those_of(coming)

        assert await are()
        assert not await are(identity=new_key(tmp_path, "another.pem"))
        assert not await are(journal=tmp_path / "another.journal")
        assert not await are(identity=Path("credential:key"))
        os.replace(new_key(tmp_path), key)
        assert not await are()
        key.unlink()
        assert not await are()


@pytest.mark.parametrize("source", ["credential:key", "env:KEY"])
async def test_what_the_next_process_is_passed_is_not_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    key = new_key(tmp_path, "key")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    monkeypatch.setenv("KEY", key.read_text())
    async with house(tmp_path, ICWS_GATEWAY__IDENTITY=source) as it:
        assert it.service.identities is not None
        assert not await it.service.identities.will_be_those_of(it.service.gateway.config)


def test_where_the_journal_lies_if_the_configuration_does_not_say() -> None:
    assert default_journal(Path("/a/identity.pem"), {}) == Path("/a/identity.journal")
    state = {"STATE_DIRECTORY": "/var/lib/icws:/var/lib/more"}
    for source in (Path("credential:key"), Path("env:KEY")):
        assert default_journal(source, state) == Path("/var/lib/icws/identity.journal")
        assert default_journal(source, {}) is None
