"""Openings and close calls of a gateway whose cluster grants, refuses, does not know, and says so late."""

import asyncio
from collections.abc import Callable

import pytest

from appliance.errors import ClientLeaving, GatewayError, OpeningClaimed, OpeningOutdated
from appliance.gateway.journal import late_close_calls
from appliance.gateway.journal.journal import Journal
from appliance.gateway.local_node import LocalNode
from appliance.gateway.nodes import Claim, Holding, Known, Place
from appliance.ic.principal import Principal
from tests.gateway.bench import Bench, until
from tests.gateway.clients import CANISTER, GATEWAY, Client
from tests.gateway.journal.entries import left_in
from tests.gateway.of_v1 import V1, of_v1, opened_v1

SECOND = 10**9


class NoEndpoints:
    """Endpoints that nobody pauses."""

    def pause(self, url: str, seconds: float) -> None:
        raise AssertionError(url)


ENDPOINTS = NoEndpoints()


class Scripted:
    """A cluster that answers as it is told."""

    def __init__(self) -> None:
        self.first_use = True
        self.refusal: GatewayError | None = None
        self.holding: Holding = "free"
        self.claims: list[Claim] = []
        self.late: list[Callable[[GatewayError | None], None]] = []
        self.asked: list[Place] = []
        self.released_places: list[Place] = []
        self.rung: list[Principal] = []
        self.known: dict[tuple[Principal, bytes], Known] = {}
        self.gate = asyncio.Event()
        self.gate.set()

    async def claim(self, claim: Claim, late: Callable[[GatewayError | None], None]) -> bool:
        self.claims.append(claim)
        self.late.append(late)
        await self.gate.wait()
        if self.refusal is not None:
            raise self.refusal
        return self.first_use

    async def release(self, place: Place) -> Holding:
        self.asked.append(place)
        return self.holding

    def released(self, place: Place) -> None:
        self.released_places.append(place)

    def know(self, known: Known) -> None:
        self.known[known.canister_id, known.client_key] = known

    def forget(self, canister_id: Principal, client_key: bytes) -> None:
        self.known.pop((canister_id, client_key), None)

    async def may_tell(self, known: Known) -> Holding:
        return await self.release(known.place)

    def have_told(self, known: Known, *, is_told: bool) -> None:
        self.released(known.place)

    def ring(self, canister_id: Principal) -> None:
        self.rung.append(canister_id)


class Clustered(Bench):
    """A bench with such a cluster."""

    def __init__(self, **options: object) -> None:
        super().__init__(**options)
        self.nodes = Scripted()
        for part in (self.gateway, self.gateway._openings, self.gateway._close_calls, self.gateway.epochs.current):
            name = "nodes" if part is self.gateway else "_nodes"
            if hasattr(part, name):
                setattr(part, name, self.nodes)
        self.gateway.epochs.current.late_close_calls._nodes = self.nodes


async def gone(bench: Clustered, shell) -> None:
    shell.lose()
    await until(lambda: not bench.gateway.pending_close_calls)


async def test_an_opening_is_claimed_before_it_leaves_and_the_canister_rung_for_after():
    async with Clustered() as bench:
        bench.nodes.gate.clear()
        client, shell = Client(), bench.connect()
        shell.receive(client.open())
        await until(lambda: bench.nodes.claims)
        (claim,) = bench.nodes.claims
        assert (claim.client_key, len(claim.request_id)) == (client.client_key, 32)
        assert claim.place == Place(CANISTER, b"")
        assert not [entry for entry in bench.ic.log if entry[0] == "submit"]
        assert bench.nodes.rung == []
        bench.nodes.gate.set()
        await until(lambda: shell.was_opened)
        assert bench.nodes.rung == [CANISTER]
        await gone(bench, shell)
        assert bench.canister.left == [client.client_key]


@pytest.mark.parametrize("refusal", [OpeningClaimed("00" * 32), ClientLeaving("somebody")])
async def test_who_is_refused_by_the_cluster_reaches_no_canister(refusal):
    async with Clustered() as bench:
        bench.nodes.refusal = refusal
        shell = bench.connect()
        shell.receive(Client().open())
        await until(lambda: shell.is_gone and not bench.gateway.pending_close_calls)
        assert shell.error is refusal
        assert bench.canister.left == []
        assert not [entry for entry in bench.ic.log if entry[0] == "submit"]


async def test_nothing_of_the_canister_is_delivered_before_the_opening_leaves():
    """What it wrote until then is for a session elsewhere that began with the same message."""
    async with Clustered() as bench:
        bench.nodes.gate.clear()
        client, shell = Client(), bench.connect()
        shell.receive(client.open())
        await until(lambda: bench.nodes.claims)
        written = len(shell.wire.written)
        bench.canister.send(client.client_key, b"for the victim")
        await until(lambda: bench.gateway.counters.undeliverable)
        assert len(shell.wire.written) == written
        assert not shell.was_opened
        bench.nodes.refusal = OpeningClaimed("00" * 32)
        bench.nodes.gate.set()
        await until(lambda: shell.is_gone and not bench.gateway.pending_close_calls)
        assert bench.canister.left == []


async def test_without_an_answer_the_first_message_tells_that_an_opening_is_the_first(tmp_path):
    async with (
        Journal(tmp_path / "journal", GATEWAY, clock=lambda: 10**9) as journal,
        Clustered(journal=journal) as bench,
    ):
        bench.nodes.first_use = False
        client, shell = await bench.opened()
        await until(lambda: shell.peer.is_journaled)
        await gone(bench, shell)
        assert bench.canister.left == [client.client_key]


async def test_without_an_answer_and_a_first_message_nobody_is_reported(tmp_path):
    async with (
        Journal(tmp_path / "journal", GATEWAY, clock=lambda: 10**9) as journal,
        Clustered(journal=journal) as bench,
    ):
        bench.nodes.first_use = False
        sent = asyncio.Event()

        async def answered_and_silent(request):
            sent.set()
            await asyncio.Event().wait()

        bench.ic.before_submit = answered_and_silent
        shell = bench.connect()
        shell.receive(Client().open())
        await sent.wait()
        assert not shell.peer.is_journaled
        assert not shell.peer.is_known
        bench.ic.before_submit = None
        shell.lose()
        await bench.gateway.tasks.cancel()
        assert bench.canister.left == []
    assert left_in(tmp_path / "journal") == []


@pytest.mark.parametrize("error", [None, OpeningClaimed("00" * 32)])
async def test_an_answer_that_comes_late_counts(error):
    async with Clustered() as bench:
        bench.nodes.first_use = False
        client, shell = await bench.opened()
        bench.nodes.late[0](error)
        await until(lambda: error is None or shell.is_gone)
        assert shell.error is error
        assert shell.peer.is_known == (error is None)
        await gone(bench, shell)
        assert bench.canister.left == ([client.client_key] if error is None else [])


@pytest.mark.parametrize("age_s", [0, 1, 3, 200])
async def test_a_session_that_is_clearly_older_than_its_opening_is_closed(age_s):
    """By the times of the IC alone: what the clock of this machine says is of no importance."""
    async with Bench() as bench:
        _, shell = await bench.opened()
        peer = shell.peer
        now_ns = bench.gateway.clock()
        certified_ns = 5 * SECOND  # another clock altogether
        joined_at_ns = certified_ns - (now_ns - peer.joined_ns)
        may_begin = peer.begins_with(joined_at_ns - age_s * SECOND, certified_ns)
        assert may_begin == (age_s <= 2)
        if not may_begin:
            await until(lambda: shell.is_gone and not bench.gateway.pending_close_calls)
            assert isinstance(shell.error, OpeningOutdated)
            assert bench.canister.left == []


# --- close calls ------------------------------------------------------------------------------------------------------


async def test_a_place_is_asked_for_before_a_close_call_and_given_back_after():
    async with Clustered(**V1) as bench:
        client, shell = await opened_v1(bench)
        place = Place(CANISTER, bytes(client.principal))
        assert bench.nodes.claims[0].place == place
        await gone(bench, shell)
        assert bench.nodes.asked == bench.nodes.released_places == [place]
        assert bench.canister.left == [client.client_key]


async def test_a_client_that_another_node_has_by_now_is_not_reported(tmp_path):
    async with (
        Journal(tmp_path / "journal", GATEWAY, clock=lambda: 10**9) as journal,
        Clustered(journal=journal, **V1) as bench,
    ):
        bench.nodes.holding = "taken"
        _, shell = await opened_v1(bench)
        await gone(bench, shell)
        assert bench.canister.left == []
        assert bench.nodes.released_places == []
    assert left_in(tmp_path / "journal") == []


async def test_where_nobody_knows_the_close_call_waits_until_somebody_does(tmp_path, monkeypatch):
    monkeypatch.setattr(late_close_calls, "RETRY_S", 0)
    async with (
        Journal(tmp_path / "journal", GATEWAY, clock=lambda: 10**9) as journal,
        Clustered(journal=journal, **V1) as bench,
    ):
        bench.nodes.holding = "unknown"
        client, shell = await opened_v1(bench)
        await gone(bench, shell)
        await until(lambda: len(bench.nodes.asked) > 3)
        assert bench.gateway.epochs.pending_late_close_calls == 1
        assert bench.canister.left == []
        bench.nodes.holding = "free"
        await until(lambda: bench.canister.left)
        assert bench.canister.left == [client.client_key]
        await until(lambda: not bench.gateway.epochs.pending_late_close_calls)
    assert left_in(tmp_path / "journal") == []


async def test_a_client_of_another_node_that_waits_is_counted_once_however_often_it_is_begun(monkeypatch):
    monkeypatch.setattr(late_close_calls, "RETRY_S", 0)
    async with Clustered(**V1) as bench:
        bench.nodes.holding = "unknown"
        local, asked = LocalNode(bench.gateway, ENDPOINTS), bench.nodes.asked
        known = Known(bench.gateway.principal, CANISTER, "v1", b"key", "client", b"principal", b"close", "a", "a" * 16)
        for _ in range(3):
            assert local.tell(known)
        await until(lambda: len(asked) > 3)
        assert local.tell(known)
        assert local.untold == 1
        bench.nodes.holding = "taken"
        await until(lambda: not local.untold)


async def test_who_returns_while_nobody_knows_opens_and_the_close_call_is_given_up():
    async with Clustered(**V1) as bench:
        bench.nodes.holding = "unknown"
        client, shell = await opened_v1(bench)
        await gone(bench, shell)
        again, back = Client(key=client.key), of_v1(bench)
        back.receive(again.open())
        await until(lambda: back.was_opened)
        assert bench.canister.left == []
        assert not bench.gateway.epochs.pending_late_close_calls
        bench.nodes.holding = "free"
        await gone(bench, back)
        assert bench.canister.left == [again.client_key]


async def test_a_gateway_that_stops_does_not_wait_for_what_nobody_knows(tmp_path):
    async with (
        Journal(tmp_path / "journal", GATEWAY, clock=lambda: 10**9) as journal,
        Clustered(journal=journal, **V1) as bench,
    ):
        bench.nodes.holding = "unknown"
        client, shell = await opened_v1(bench)
        bench.gateway.epochs.current.stop()
        await gone(bench, shell)
        assert not bench.gateway.epochs.pending_late_close_calls
    assert [each.client_key for each in left_in(tmp_path / "journal")] == [client.client_key]


async def test_the_cluster_is_told_of_places_and_nudges_what_is_polled():
    async with Clustered(**V1) as bench:
        client, shell = await opened_v1(bench)
        bench.gateway.connections.add(shell.peer)
        local = LocalNode(bench.gateway, ENDPOINTS)
        assert list(local.held()) == [Place(CANISTER, bytes(client.principal))]
        assert local.sessions == 1
        polls = bench.gateway.counters.polls
        local.nudge(CANISTER)
        local.nudge(Principal(b"another"))
        await until(lambda: bench.gateway.counters.polls > polls)
        await bench.opened()
        assert len(list(local.held())) == 1  # a client of v2 has no place
