"""The clients that an earlier process left behind: told once, before they are back, and kept until they are told."""

import asyncio
from pathlib import Path

import pytest

from appliance.errors import CallExpired, CertifiedReject, RefusedByPlugin, ReplayedEnvelope
from appliance.gateway.journal import late_close_calls
from appliance.gateway.journal.entry import Entry
from appliance.gateway.journal.journal import Journal, NoJournal
from appliance.ic.principal import Principal
from tests.gateway.bench import Bench, until
from tests.gateway.clients import CANISTER, GATEWAY, Client
from tests.gateway.fake_ic import CLOSE, FakeCanister, FakeIc, err, nothing
from tests.gateway.journal.entries import left_in


def entry_of(client: Client) -> Entry:
    key = {"client_principal": client.principal, "client_nonce": client.nonce}
    return Entry(
        CANISTER,
        client.client_key,
        client.generation,
        str(client.nonce),
        client.principal,
        CLOSE.encode({"client_key": key}),
    )


class Process(Bench):
    """A gateway with a journal, as one process of several. ``die`` is the end of one that was killed."""

    def __init__(self, folder: Path, **config: object) -> None:
        self.journal = Journal(folder / "journal", GATEWAY, clock=lambda: 10**9)
        super().__init__(journal=self.journal, **config)

    async def __aenter__(self) -> "Process":
        await self.journal.__aenter__()
        await self.gateway.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await super().__aexit__()
        await self.journal.__aexit__()


async def left_behind(folder: Path, *clients: Client) -> None:
    """Clients of a process that was killed."""
    async with Journal(folder / "journal", GATEWAY, clock=lambda: 10**9) as journal:
        for client in clients:
            await journal.add(entry_of(client), None)


async def test_a_client_is_in_the_journal_before_its_opening_leaves_and_until_its_canister_is_told(tmp_path):
    async with Process(tmp_path) as process:
        seen = []

        async def look(request):
            database = process.journal._files.store._database
            seen.append(database.execute("SELECT count(*) FROM clients").fetchone()[0])

        process.ic.before_submit = look
        _, shell = await process.opened()
        assert seen == [1]
        shell.lose()
        await until(lambda: not process.gateway.pending_close_calls)
    assert left_in(tmp_path / "journal") == []


async def test_messages_cost_the_journal_nothing(tmp_path):
    async with Process(tmp_path) as process:
        client, shell = await process.opened()
        before = process.journal.stats.commits
        for number in range(50):
            shell.receive(client.message(b"%d" % number))
        await until(lambda: len(process.canister.received) == 50)
        await process.journal.add(entry_of(Client()), None)
        assert process.journal.stats.commits == before + 1


async def test_a_client_that_the_canister_refused_is_not_told_of_later(tmp_path):
    async with Process(tmp_path) as process:
        process.canister.on_open = lambda key: err("no")
        shell = process.connect()
        shell.receive(Client().open())
        await until(lambda: shell.is_gone and not process.gateway.pending_close_calls)
    assert left_in(tmp_path / "journal") == []


async def test_a_stop_that_runs_out_of_time_hands_the_rest_to_the_next_process(tmp_path):
    async with Process(tmp_path, drain={"deadline": "1ms"}) as process:
        clients = [await process.opened() for _ in range(3)]

        async def never():
            await asyncio.get_running_loop().create_future()

        process.ic.before_call = never
    async with Process(tmp_path) as process:
        assert process.gateway.epochs.pending_late_close_calls == 3
        await until(lambda: not process.gateway.epochs.pending_late_close_calls)
        assert sorted(process.canister.left) == sorted(client.client_key for client, _ in clients)
    assert left_in(tmp_path / "journal") == []


async def test_all_that_were_left_behind_are_told_once(tmp_path):
    clients = [Client() for _ in range(20)]
    await left_behind(tmp_path, *clients)
    async with Process(tmp_path) as process:
        await until(lambda: not process.gateway.epochs.pending_late_close_calls)
        assert sorted(process.canister.left) == sorted(client.client_key for client in clients)
        assert process.gateway.counters.farewells == 20
    async with Process(tmp_path) as process:
        assert not process.gateway.epochs.pending_late_close_calls


async def test_clients_of_whom_nobody_knows_whether_they_moved_hold_up_no_others(tmp_path, monkeypatch):
    monkeypatch.setattr(late_close_calls, "AT_ONCE", 2)
    unknown, known = [Client(generation="v1") for _ in range(5)], [Client() for _ in range(5)]
    await left_behind(tmp_path, *unknown, *known)
    process = Process(tmp_path)

    async def may_tell(known):
        return "unknown" if known.place.group else "free"

    monkeypatch.setattr(process.gateway.nodes, "may_tell", may_tell)
    async with process:
        await until(lambda: process.gateway.epochs.pending_late_close_calls == len(unknown))
        assert sorted(process.canister.left) == sorted(client.client_key for client in known)
    assert len(left_in(tmp_path / "journal")) == len(unknown)


@pytest.mark.parametrize("is_same_key", [True, False])
async def test_whoever_comes_back_waits_until_its_old_session_is_told_of_and_goes_first(tmp_path, is_same_key):
    """Otherwise the close call could end the new session: of the same key, or of the same principal in v1."""
    others, back = [Client() for _ in range(40)], Client()
    await left_behind(tmp_path, *others, back)
    async with Process(tmp_path, relay={"calls": 32}) as process:  # two close calls at a time
        gate = asyncio.Event()
        process.ic.before_call = gate.wait
        again = Client(key=back.key, nonce=back.nonce if is_same_key else back.nonce + 1000)
        shell = process.connect()
        shell.receive(again.open())
        for _ in range(20):
            await asyncio.sleep(0)
        await process.journal.add(entry_of(Client()), None)  # behind that of the opening, if this did not wait
        for _ in range(20):
            await asyncio.sleep(0)
        assert "ws_open" not in [method for method, _ in process.ic.log]
        gate.set()
        process.ic.before_call = nothing
        await until(lambda: shell.was_opened)
        calls = [method for method, _ in process.ic.log]
        assert back.client_key in process.canister.left[: calls.index("ws_open")]
        await until(lambda: not process.gateway.epochs.pending_late_close_calls)
        assert process.canister.left.count(back.client_key) == 1
        assert shell.error is None


@pytest.mark.parametrize("error", [CallExpired("ws_close", "no answer"), CertifiedReject(5, "stopped", "IC0508")])
async def test_a_close_call_that_fails_is_tried_again_and_then_left_to_the_next_process(tmp_path, monkeypatch, error):
    monkeypatch.setattr(late_close_calls, "RETRY_S", 0)
    client = Client()
    await left_behind(tmp_path, client)
    async with Process(tmp_path) as process:

        async def fail():
            raise error

        process.ic.before_call = fail
        await until(lambda: not process.gateway.epochs.pending_late_close_calls)
        assert process.gateway.counters.failed_farewells == {error.reason: late_close_calls.ATTEMPTS}
        process.ic.before_call = nothing
        _, shell = await process.opened(Client(key=client.key))
        assert shell.error is None
        assert process.canister.left == []
    assert client.client_key in [each.client_key for each in left_in(tmp_path / "journal")]


async def test_a_close_call_that_failed_in_this_process_is_left_to_the_next(tmp_path):
    async with Process(tmp_path) as process:
        client, shell = await process.opened()

        async def expire():
            raise CallExpired("ws_close", "no answer")

        process.ic.before_call = expire
        shell.lose()
        await until(lambda: not process.gateway.pending_close_calls)
    assert [each.client_key for each in left_in(tmp_path / "journal")] == [client.client_key]


async def test_an_opening_message_that_was_used_is_refused_after_a_restart(tmp_path):
    client = Client()
    frame = client.open()
    async with Process(tmp_path) as process:
        shell = process.connect()
        shell.receive(frame)
        await until(lambda: shell.was_opened)
    async with Process(tmp_path) as process:
        captured = process.connect()
        captured.receive(frame)
        assert isinstance(captured.error, ReplayedEnvelope)


async def test_who_is_refused_before_the_canister_is_called_stays_in_the_journal(tmp_path):
    client = Client()
    await left_behind(tmp_path, client)
    async with Process(tmp_path) as process:
        gate = asyncio.Event()

        async def hold() -> None:
            await gate.wait()

        async def refuse(_who: object) -> None:
            raise RefusedByPlugin("test", "members only")

        process.ic.before_call = hold
        process.gateway.hooks.open = refuse
        shell = process.connect()
        shell.receive(client.open())
        await until(lambda: shell.error and shell.is_gone and len(process.gateway.hub) == 0)
        database = process.journal._files.store._database
        await process.journal.add(entry_of(Client()), None)  # what was removed before is removed now
        keys = [bytes(key) for (key,) in database.execute("SELECT client_key FROM clients")]
        gate.set()
    assert client.client_key in keys


async def test_an_identity_that_is_not_used_any_more_ends_with_the_last_of_its_late_close_calls(tmp_path):
    await left_behind(tmp_path, Client(), Client())
    async with Process(tmp_path) as process:
        gate, identity = asyncio.Event(), Principal.self_authenticating(b"the next identity")
        process.ic.before_call = gate.wait
        process.gateway.rotate(identity, FakeIc(FakeCanister(CANISTER, identity)), NoJournal())
        assert process.gateway.epochs.pending_late_close_calls == len(process.gateway.epochs) == 2
        gate.set()
        await until(lambda: len(process.gateway.epochs) == 1)
        await until(process.journal._ended.done)
        assert len(process.canister.left) == 2
