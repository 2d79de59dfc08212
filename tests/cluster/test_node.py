import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from appliance.cluster import contact, doorbell, node, rings
from appliance.cluster.engine import DEAD_MS, HELD_MS, SILENT_MS, Facts, Held, NameHeld, OtherFacts
from appliance.cluster.seal import Seal
from appliance.crypto import SigningKey
from appliance.errors import (
    ClientLeaving,
    ClusterMismatch,
    EngineAway,
    EngineUnsuitable,
    GatewayError,
    NodeNameTaken,
    OpeningClaimed,
)
from appliance.gateway.nodes import Known, Place
from appliance.ic.identity import KeyIdentity
from tests.cluster.board import Board, MemoryEngine
from tests.cluster.nodes import CANISTER, FACTS, GATEWAY, GROUP, NOW_NS, Beating, beating, claim, until


def nobody(error: GatewayError | None) -> None:
    pytest.fail("no answer comes late")


# --- the contact ------------------------------------------------------------------------------------------------------


async def test_a_node_joins_beats_and_leaves():
    board = Board()
    async with beating(MemoryEngine(board), "a") as it, beating(MemoryEngine(board), "b") as other:
        it.local.sessions = 3
        await it.beat()
        assert it.node.contact.state == "joined"
        assert [each.name for each in await it.node.nodes()] == ["a", "b"]
        assert (await other.node.nodes())[0].info.sessions == 3
        assert it.node.others == 1
        board.now_ms += DEAD_MS + 1
        await it.beat()
        assert it.node.others == 0
        await other.beat()
        assert it.alarm.waits[-1] == contact.BEAT_S
    assert not board.names
    assert not board.infos
    assert board.facts is None


async def test_an_engine_that_is_away_keeps_no_node_from_starting_and_is_asked_with_back_off():
    engine = MemoryEngine(Board())
    engine.is_away = True
    async with beating(engine) as it:
        for _ in range(6):
            await it.beat()
        assert it.node.contact.state == "away"
        assert it.alarm.waits == [0.25, 0.5, 1.0, 2.0, 4.0, 5.0, 5.0]
        assert "nobody listens there" in (it.node.contact.problem or "")
        with pytest.raises(EngineAway):
            await it.node.nodes()
        engine.is_away = False
        await it.beat()
        assert it.node.contact.state == "joined"
        engine.is_away = True
        await it.beat()
        assert it.node.contact.state == "away"


@pytest.mark.parametrize(
    ("facts", "what"),
    [
        (Facts("2vxsx-fae", FACTS.root_key), "the principal"),
        (Facts(FACTS.principal, "11" * 32), "the root key"),
        (Facts(FACTS.principal, FACTS.root_key, 1), "the schema"),
    ],
)
async def test_a_start_is_refused_where_the_cluster_has_other_facts(facts, what):
    board = Board()
    async with beating(MemoryEngine(board), "a"):
        with pytest.raises(ClusterMismatch, match=what):
            async with beating(MemoryEngine(board), "b", facts=facts):
                pass
    async with beating(MemoryEngine(board), "b", facts=facts) as it:  # nobody is left to disagree
        assert it.node.contact.state == "joined"


async def test_a_start_is_refused_by_an_engine_that_cannot_carry_a_cluster():
    engine = MemoryEngine(Board())
    engine.lies["connect"] = EngineUnsuitable("its maxmemory-policy is allkeys-lru")
    with pytest.raises(EngineUnsuitable, match="allkeys-lru"):
        async with beating(engine):
            pass


@asynccontextmanager
async def starting(it: Beating) -> AsyncIterator["asyncio.Task[None]"]:
    """The start of a node whose name is taken, at the moment when it waits for another look."""

    async def run() -> None:
        async with it.node.running():
            await asyncio.Event().wait()

    start = asyncio.ensure_future(run())
    await until(lambda: it.alarm.waits)
    assert it.alarm.waits == [node.LIVING_S]
    yield start
    start.cancel()
    await asyncio.wait({start})


async def test_a_start_is_refused_where_a_living_node_has_its_name():
    board = Board()
    it = Beating(MemoryEngine(board), "a")
    async with beating(MemoryEngine(board), "a") as living, starting(it) as start:
        await living.beat()
        it.alarm.set()
        with pytest.raises(NodeNameTaken, match=r"another name in cluster\.node"):
            await start
        await living.beat()
        assert living.node.contact.state == "joined"


async def test_the_name_of_a_process_that_was_killed_is_taken_over():
    board = Board()
    board.beat(Beating(MemoryEngine(board), "a").node._next_beat())
    it = Beating(MemoryEngine(board), "a")
    async with starting(it):
        it.alarm.set()
        await until(lambda: it.node.contact.state == "joined")
        assert board.names["a"][0].startswith(it.node.incarnation)


async def test_a_node_that_lost_its_name_while_it_stood_still_goes_on_alone_and_says_so():
    board = Board()
    async with beating(MemoryEngine(board), "a") as it:
        board.now_ms += DEAD_MS
        async with beating(MemoryEngine(board), "a") as other:
            await it.beat()
            assert it.node.contact.state == "refused"
            assert "runs in cluster main already" in (it.node.contact.problem or "")
            assert await it.node.claim(claim(), nobody) is False
            await other.beat()
            assert other.node.contact.state == "joined"
        await it.beat()
        assert it.node.contact.state == "joined"


async def test_an_engine_that_lies_ends_nothing():
    engine = MemoryEngine(Board())
    async with beating(engine) as it:
        for lie in (OtherFacts(FACTS), NameHeld("x"), OtherFacts(Facts("2vxsx-fae", "")), ValueError("nonsense")):
            engine.lies["beat"] = lie
            await it.beat()
            assert it.node.contact.state in ("away", "refused")
        engine.lies.clear()
        await it.beat()
        assert it.node.contact.state == "joined"


# --- claims -----------------------------------------------------------------------------------------------------------


async def test_an_opening_is_granted_once_for_the_cluster_and_again_to_whoever_has_it():
    board = Board()
    async with beating(MemoryEngine(board), "a") as it, beating(MemoryEngine(board), "b") as other:
        assert await it.node.claim(claim(), nobody) is True
        assert await it.node.claim(claim(), nobody) is True
        with pytest.raises(OpeningClaimed) as caught:
            await other.node.claim(claim(), nobody)
        assert 4500 <= caught.value.close_code < 5000
        assert await other.node.claim(claim(b"s" * 32), nobody) is True
        board.now_ms += 240_001
        other.now += 240.001
        assert await other.node.claim(claim(), nobody) is True
        assert it.node.claims == {"granted": 2}
        assert other.node.claims == {"granted": 2, "used": 1}


async def test_without_the_engine_nobody_knows_and_nobody_waits():
    engine = MemoryEngine(Board())
    async with beating(engine) as it:
        engine.is_away = True
        assert await it.node.claim(claim(), nobody) is False
        await it.beat()
        engine.made.clear()
        assert await it.node.claim(claim(), nobody) is False
        assert engine.made == []
        assert it.node.claims["unknown"] == 2


async def test_places_without_a_session_are_forgotten_while_the_engine_is_away_too():
    engine = MemoryEngine(Board())
    engine.is_away = True
    async with beating(engine) as it:
        other = Place(CANISTER, b"other")
        for place in (GROUP, other):
            await it.node.claim(claim(b"", group=place.group), nobody)
        it.local.places = [GROUP]
        for _ in range(3):
            it.now += node.CONFIRM_S
            await it.beat()
        assert it.node._claiming.places.since(GROUP) is not None
        assert it.node._claiming.places.since(other) is None
        assert len(it.node._claiming.places) == 1


@pytest.mark.parametrize("is_used", [True, False])
async def test_an_answer_that_comes_late_is_passed_on(is_used):
    board, late = Board(), []
    engine = MemoryEngine(board)
    async with beating(engine, settings={"claim_timeout": "1ms"}) as it, beating(MemoryEngine(board), "b") as other:
        if is_used:
            assert await other.node.claim(claim(), nobody) is True
        engine.stall()
        assert await it.node.claim(claim(), late.append) is False
        engine.go_on()
        await until(lambda: late)
        assert isinstance(late[0], OpeningClaimed if is_used else type(None))
        assert it.node.claims["late used" if is_used else "late granted"] == 1


async def test_a_slow_engine_has_a_bounded_number_of_commands_to_do():
    engine = MemoryEngine(Board())
    async with beating(engine, settings={"claim_timeout": "1ms", "commands": 4}) as it:
        engine.stall()
        for number in range(20):
            assert await it.node.claim(claim(bytes([number]) * 32), lambda _: None) is False
        assert it.node.commands.under_way <= 4 + 1
        assert it.node.commands.dropped >= 15
        engine.go_on()


async def test_what_was_relayed_without_a_claim_cannot_be_granted_to_a_copy_once_the_engine_is_back():
    board = Board()
    engine = MemoryEngine(board)
    async with beating(engine, "a") as it, beating(MemoryEngine(board), "b") as other:
        engine.is_away = True
        await it.beat()
        assert await it.node.claim(claim(), nobody) is False
        engine.is_away = False
        await it.beat()
        assert await other.node.claim(claim(), nobody) is False
        assert other.node.claims == {"doubted": 1}
        for each in (it, other):
            each.node._clock = lambda: NOW_NS + board.now_ms * 10**6
        for _ in range(121):
            board.now_ms += 2000
            for each in (it, other):
                await each.beat()
        assert await other.node.claim(claim(b"s" * 32), nobody) is True


async def test_a_claim_whose_answer_comes_late_is_no_reason_to_doubt():
    board, late = Board(), []
    engine = MemoryEngine(board)
    async with beating(engine, settings={"claim_timeout": "1ms"}) as it:
        engine.stall()
        assert await it.node.claim(claim(), late.append) is False
        engine.go_on()
        await until(lambda: late)
        await it.beat()
        it.node.settings = it.node.settings.model_copy(update={"claim_timeout": 60.0})
        assert await it.node.claim(claim(b"s" * 32), nobody) is True


async def test_while_a_node_is_silent_no_opening_is_known_to_be_the_first():
    board = Board()
    async with beating(MemoryEngine(board), "a"), beating(MemoryEngine(board), "b") as other:
        board.now_ms += SILENT_MS + 1
        for _ in range(2):
            await other.beat()
        assert await other.node.claim(claim(), nobody) is False


async def test_an_engine_that_lost_everything_grants_no_copy():
    board = Board()
    async with beating(MemoryEngine(board), "a") as it, beating(MemoryEngine(board), "b") as other:
        assert await it.node.claim(claim(), nobody) is True
        board.flush()
        assert await other.node.claim(claim(), nobody) is False
        board.openings.clear()
        await other.beat()
        assert await other.node.claim(claim(), nobody) is False


# --- places -----------------------------------------------------------------------------------------------------------


async def test_a_place_is_taken_over_by_the_node_that_its_client_returns_to():
    board = Board()
    async with beating(MemoryEngine(board), "a", settle_s=0) as it, beating(MemoryEngine(board), "b") as other:
        assert await it.node.claim(claim(b"", group=GROUP.group), nobody) is True
        assert await other.node.claim(claim(b"", group=GROUP.group), nobody) is True
        assert await it.node.release(GROUP) == "taken"


def passing(board: Board, seconds: float, *nodes: Beating) -> None:
    """The same time passes for all."""
    board.now_ms += round(seconds * 1000)
    for each in nodes:
        each.now += seconds


@pytest.mark.parametrize("skew_s", [-300, 0, 300])
async def test_a_claim_that_was_delayed_takes_no_place_from_a_later_one(skew_s):
    board = Board()
    engine = MemoryEngine(board)
    async with (
        beating(engine, "a", settle_s=0, settings={"claim_timeout": "1ms"}) as it,
        beating(MemoryEngine(board), "b", settle_s=0) as other,
    ):
        it.node._clock = lambda: NOW_NS + skew_s * 10**9
        engine.stall()
        late: list[GatewayError | None] = []
        assert await it.node.claim(claim(b"", group=GROUP.group), late.append) is False
        passing(board, 0.02, it, other)
        assert await other.node.claim(claim(b"s" * 32, group=GROUP.group), nobody) is True
        passing(board, 5, it, other)
        engine.go_on()
        await until(lambda: late)
        assert await it.node.release(GROUP) == "taken"
        assert await other.node.release(GROUP) == "free"


async def test_a_claim_that_was_delayed_takes_no_place_that_its_own_node_is_closing():
    board = Board()
    engine = MemoryEngine(board)
    async with (
        beating(engine, "a", settle_s=0, settings={"claim_timeout": "1ms"}) as it,
        beating(MemoryEngine(board), "b") as other,
    ):
        engine.stall()
        assert await it.node.claim(claim(b"", group=GROUP.group), lambda _: None) is False
        passing(board, 1, it, other)
        # The order in which an engine gets commands of several connections is not that in which they were sent.
        assert board.release("a", it.node.incarnation, GROUP) == "free"
        engine.go_on()
        await until(lambda: not it.node.commands.under_way)
        with pytest.raises(ClientLeaving):
            await other.node.claim(claim(b"", group=GROUP.group), nobody)


@pytest.mark.parametrize("command", ["claim", "hold"])
async def test_what_is_delayed_until_its_session_has_ended_holds_no_place(command: str):
    """For nobody, and another node would take it for a living session, and tell no canister that its client left."""
    board = Board()
    async with (
        beating(MemoryEngine(board), "a", settle_s=0) as it,
        beating(MemoryEngine(board), "b", settle_s=0) as other,
    ):
        passing(board, 1, it, other)
        sent_ms, process = board.now_ms, it.node.incarnation
        assert await it.node.claim(claim(b"", group=GROUP.group), nobody) is True
        passing(board, 1, it, other)
        assert await it.node.release(GROUP) == "free"
        it.node.released(GROUP)
        await until(lambda: board.holder(GROUP) is None)
        if command == "claim":
            board.claim("a", process, claim(b"", group=GROUP.group), NOW_NS, sent_ms)
        else:
            board.hold("a", process, [Held(GROUP, sent_ms)])
        assert await other.node.release(GROUP) == "free"
        other.node.released(GROUP)
        await until(lambda: board.holder(GROUP) is None)
        passing(board, 1, it, other)
        assert await it.node.claim(claim(b"", group=GROUP.group), nobody) is True
        assert await other.node.release(GROUP) == "taken"


async def test_a_close_call_of_a_process_that_died_keeps_nobody_from_confirming_the_place():
    board = Board()
    engine = MemoryEngine(board)
    async with beating(engine, "b", settle_s=0) as it:
        killed = Beating(MemoryEngine(board), "a").node
        board.beat(killed._next_beat())
        assert board.release("a", killed.incarnation, GROUP) == "free"
        passing(board, 11, it)
        engine.is_away = True
        await it.beat()
        assert await it.node.claim(claim(b"", group=GROUP.group), nobody) is False
        it.local.places = [GROUP]
        engine.is_away = False
        await it.beat()
        assert board.places[GROUP][0][::3] == ("held", "b")


async def test_a_clock_of_the_engine_that_is_set_back_keeps_nobody_from_a_place():
    board = Board(now_ms=10**9)
    async with beating(MemoryEngine(board), "a", settle_s=0) as it, beating(MemoryEngine(board), "b") as other:
        await it.node.claim(claim(b"", group=GROUP.group), nobody)
        board.now_ms -= 3_000_000
        await other.beat()
        await other.node.claim(claim(b"", group=GROUP.group), nobody)
        assert board.places[GROUP][0][3] == "b"


async def test_nobody_takes_over_a_place_while_a_living_node_closes_it():
    board = Board()
    async with beating(MemoryEngine(board), "a", settle_s=0) as it, beating(MemoryEngine(board), "b") as other:
        await it.node.claim(claim(b"", group=GROUP.group), nobody)
        assert await it.node.release(GROUP) == "free"
        with pytest.raises(ClientLeaving):
            await other.node.claim(claim(b"", group=GROUP.group), nobody)
        it.node.released(GROUP)
        await until(lambda: board.holder(GROUP) is None)
        assert await other.node.claim(claim(b"", group=GROUP.group), nobody) is True


@pytest.mark.parametrize("is_late", [False, True])
@pytest.mark.parametrize("was_late", [False, True])
async def test_a_close_call_begins_once_the_engine_knows_the_end_of_the_last_one_of_its_place(was_late, is_late):
    board = Board()
    known = Known(GATEWAY, CANISTER, "v1", b"key", "client", GROUP.group, b"close")
    async with beating(MemoryEngine(board), "a", settle_s=0) as it, beating(MemoryEngine(board), "b") as other:
        node = it.node
        assert await (node.may_tell(known) if was_late else node.release(GROUP)) == "free"
        if was_late:
            node.have_told(known, is_told=True)
        else:
            node.released(GROUP)
        known = known._replace(client_key=b"another key")
        assert await (node.may_tell(known) if is_late else node.release(GROUP)) == "unknown"
        await until(lambda: not (node._closing._unreported or node.own._untold))
        assert await (node.may_tell(known) if is_late else node.release(GROUP)) == "free"
        with pytest.raises(ClientLeaving):
            await other.node.claim(claim(b"", group=GROUP.group), nobody)


async def test_a_close_call_that_ends_while_the_engine_is_away_keeps_the_place_no_longer_than_that():
    board = Board()
    engine = MemoryEngine(board)
    async with beating(engine, "a", settle_s=0) as it, beating(MemoryEngine(board), "b", settle_s=0) as other:
        assert await it.node.release(GROUP) == "free"
        engine.is_away = True
        it.node.released(GROUP)
        await it.beat()
        engine.is_away = False
        for _ in range(2):
            await it.beat()
        assert await other.node.release(GROUP) == "free"


async def test_a_node_that_died_closes_nothing_any_more():
    board = Board()
    async with beating(MemoryEngine(board), "b") as other:
        killed = Beating(MemoryEngine(board), "a").node
        board.beat(killed._next_beat())
        assert board.release("a", killed.incarnation, GROUP) == "free"
        board.now_ms += DEAD_MS
        await other.beat()
        assert await other.node.claim(claim(b"", group=GROUP.group), nobody) is True


async def test_whom_a_killed_process_had_is_not_forgotten_by_a_node_that_could_report_it():
    board = Board()
    async with beating(MemoryEngine(board), "b", settle_s=0) as other:
        killed = Beating(MemoryEngine(board), "a").node
        board.beat(killed._next_beat())
        assert board.claim("a", killed.incarnation, claim(b"", group=GROUP.group), NOW_NS, 0) == "granted"
        assert await other.node.release(GROUP) == "taken"
        board.now_ms += DEAD_MS
        await other.beat()
        assert await other.node.release(GROUP) == "unknown"
        async with beating(MemoryEngine(board), "a"):  # another process, which does not have this client
            assert await other.node.release(GROUP) == "unknown"
        for _ in range(HELD_MS // DEAD_MS):
            board.now_ms += DEAD_MS - 1
            await other.beat()
        board.now_ms += HELD_MS // DEAD_MS
        assert await other.node.release(GROUP) == "free"


async def test_many_who_leave_at_once_are_all_asked_for():
    async with beating(MemoryEngine(Board()), settle_s=0, settings={"commands": 4}) as it:
        places = [Place(CANISTER, bytes([number])) for number in range(100)]
        assert await asyncio.gather(*map(it.node.release, places)) == ["free"] * 100
        assert it.node.commands.dropped == 0


async def test_a_process_that_stood_still_while_another_took_its_name_ends_nothing():
    board = Board()
    async with beating(MemoryEngine(board), "a", settle_s=0) as it:
        await it.node.claim(claim(b"", group=GROUP.group), nobody)
        board.now_ms += DEAD_MS
        async with beating(MemoryEngine(board), "a", settle_s=0) as after:
            await after.node.claim(claim(b"", group=GROUP.group), nobody)
            # Its sockets end before its next heartbeat tells it.
            assert await it.node.release(GROUP) == "unknown"
            assert await after.node.release(GROUP) == "free"


async def test_an_engine_that_lost_everything_before_a_heartbeat_frees_no_place():
    board = Board()
    async with beating(MemoryEngine(board), "a", settle_s=0) as it, beating(MemoryEngine(board), "b") as other:
        await it.node.claim(claim(b"", group=GROUP.group), nobody)
        await other.node.claim(claim(b"", group=GROUP.group), nobody)
        board.flush()
        assert await it.node.release(GROUP) == "unknown"


async def test_the_close_calls_of_a_process_that_died_keep_nobody_out_once_the_next_has_its_name():
    board = Board()
    async with beating(MemoryEngine(board), "b") as other:
        killed = Beating(MemoryEngine(board), "a").node
        board.beat(killed._next_beat())
        assert board.release("a", killed.incarnation, GROUP) == "free"
        with pytest.raises(ClientLeaving):
            await other.node.claim(claim(b"", group=GROUP.group), nobody)
        board.now_ms += DEAD_MS
        async with beating(MemoryEngine(board), "a"):
            assert await other.node.claim(claim(b"", group=GROUP.group), nobody) is True


async def test_an_engine_that_has_just_come_back_is_not_believed_about_places():
    board = Board()
    engine = MemoryEngine(board)
    async with beating(engine, "a") as it:
        assert await it.node.release(GROUP) == "unknown"
        it.now += contact.SETTLE_S
        assert await it.node.release(GROUP) == "free"
        engine.is_away = True
        assert await it.node.release(GROUP) == "unknown"
        await it.beat()
        engine.is_away = False
        await it.beat()
        assert await it.node.release(GROUP) == "unknown"


async def test_whoever_lost_the_engine_confirms_its_places_and_the_latest_session_wins():
    board = Board()
    engine, later = MemoryEngine(board), MemoryEngine(board)
    async with beating(engine, "a", settle_s=0) as it, beating(later, "b", settle_s=0) as other:
        assert await it.node.claim(claim(b"", group=GROUP.group), nobody) is True
        it.local.places = [GROUP]
        passing(board, 0.005, it, other)
        assert await other.node.claim(claim(b"", group=GROUP.group), nobody) is True
        other.local.places = [GROUP]
        board.flush()
        for each in (engine, later):
            each.is_away = True
        for each in (it, other):
            await each.beat()
        for each in (engine, later):
            each.is_away = False
        for each in (other, it) * 2:
            await each.beat()
        assert await it.node.release(GROUP) == "taken"
        assert await other.node.release(GROUP) == "free"


async def test_whoever_has_the_engine_back_counts_as_silent_until_its_places_are_confirmed():
    board = Board()
    later = MemoryEngine(board)
    async with beating(MemoryEngine(board), "a", settle_s=0) as it, beating(later, "b", settle_s=0) as other:
        assert await it.node.claim(claim(b"", group=GROUP.group), nobody) is True
        later.is_away = True
        await other.beat()
        assert await other.node.claim(claim(b"", group=GROUP.group), nobody) is False
        other.local.places = [GROUP]
        passing(board, 3.0, it, other)
        later.is_away, later.lies["hold"] = False, EngineAway("too slow")
        await other.beat()
        assert board.infos["b"][0] == board.now_ms
        assert await it.node.release(GROUP) == "unknown"
        del later.lies["hold"]
        await other.beat()
        assert await it.node.release(GROUP) == "taken"


async def test_a_node_that_starts_keeps_nobody_waiting():
    board = Board()
    async with beating(MemoryEngine(board), "a", settle_s=0) as it, beating(MemoryEngine(board), "b"):
        assert await it.node.release(GROUP) == "free"


async def test_an_engine_that_lost_everything_between_two_heartbeats_is_noticed():
    board = Board()
    async with beating(MemoryEngine(board), "a") as it, beating(MemoryEngine(board), "b") as other:
        it.local.places = [GROUP]
        it.now += contact.SETTLE_S
        other.now += contact.SETTLE_S
        board.flush()
        await other.beat()
        assert await other.node.release(GROUP) == "unknown"  # nobody who lost his places has confirmed them yet
        await it.beat()
        other.now += contact.SETTLE_S
        assert await other.node.release(GROUP) == "taken"


async def test_a_place_whose_claim_was_not_answered_is_confirmed_with_the_next_heartbeat():
    board = Board()
    engine = MemoryEngine(board)
    async with beating(engine, "a") as it:
        engine.lies["claim"] = EngineAway("too many commands")
        assert await it.node.claim(claim(group=GROUP.group), nobody) is False
        it.local.places = [GROUP]
        await until(lambda: GROUP in board.places)
        assert board.places[GROUP][0] == ("held", 0, it.node.incarnation, "a")


async def test_places_are_confirmed_from_time_to_time():
    board = Board()
    async with beating(MemoryEngine(board), "a") as it:
        it.local.places = [Place(CANISTER, bytes([number // 256, number % 256])) for number in range(1200)]
        await it.beat()
        assert not board.places
        it.now += node.CONFIRM_S
        await it.beat()
        assert len(board.places) == 1200


async def test_clients_of_v2_have_no_place_and_need_no_engine():
    engine = MemoryEngine(Board())
    engine.is_away = True
    async with beating(engine) as it:
        assert await it.node.release(Place(CANISTER, b"")) == "free"
        it.node.released(Place(CANISTER, b""))


# --- the doorbell -----------------------------------------------------------------------------------------------------


async def test_other_nodes_are_nudged_and_the_own_one_is_not():
    board = Board()
    async with beating(MemoryEngine(board), "a") as it, beating(MemoryEngine(board), "b") as other:
        for each in (it, other, it):
            await each.beat()
        for _ in range(3):
            it.node.ring(CANISTER)
        await until(lambda: other.local.nudged)
        assert other.local.nudged == [CANISTER]
        assert it.local.nudged == []
        assert (it.node.doorbell.counts["heard"], other.node.doorbell.counts["heard"]) == (0, 1)


async def test_a_node_without_others_rings_for_nobody():
    engine = MemoryEngine(Board())
    async with beating(engine) as it:
        it.node.ring(CANISTER)
        assert it.node.doorbell._ringing is None
        await it.beat()
        assert it.node.doorbell.counts["sent"] == 0


async def test_what_is_no_doorbell_is_counted_and_harmless():
    board = Board()
    async with beating(MemoryEngine(board)) as it:
        await until(lambda: board.listeners)
        board.listeners[0](b"\xff" * 9)
        board.listeners[0](b"\xff" * 50)
        assert (it.node.doorbell.counts["malformed"], it.node.doorbell.counts["forged"]) == (1, 1)
        assert it.local.nudged == []


async def test_a_ring_is_heard_once_however_often_it_comes():
    board = Board()
    async with beating(MemoryEngine(board), "a") as it, beating(MemoryEngine(board), "b") as other:
        for each in (it, other, it):
            await each.beat()
        it.node.ring(CANISTER)
        await until(lambda: other.local.nudged)
        for to, message in list(board.kept):
            board.send(to, message)
        assert other.local.nudged == [CANISTER]
        assert other.node.doorbell.counts["replayed"]
        assert it.local.nudged == []


async def test_a_copy_of_the_own_ring_proves_nothing_about_the_way_through_the_engine():
    board = Board()
    engine = MemoryEngine(board)
    async with beating(engine) as it:
        await it.beat()
        await until(lambda: not it.node.doorbell._unheard)
        board.rewrite = lambda to, _: [board.kept[0]]
        for _ in range(doorbell.DEAF_BEATS):
            await it.beat()
        await it.beat()
        assert "nothing was heard" in (it.node.doorbell.problem or "")


async def test_a_doorbell_that_may_not_listen_tries_less_and_less_often():
    engine = MemoryEngine(Board())
    engine.lies["listen"] = EngineAway("no permission")
    async with beating(engine) as it:
        for _ in range(40):
            await it.beat()
            await asyncio.sleep(0)
        assert 5 < engine.made.count("listen") < 12
        assert it.node.doorbell.problem == str(EngineAway("no permission"))
        del engine.lies["listen"]
        for _ in range(doorbell.MAX_PAUSE_BEATS + 2):
            await it.beat()
            await asyncio.sleep(0)
        await until(lambda: it.node.doorbell.problem is None)
        assert engine.listening == 1


async def test_a_rotated_identity_makes_another_seal():
    board = Board()
    async with beating(MemoryEngine(board), "a") as it, beating(MemoryEngine(board), "b") as other:
        for each in (it, other, it):
            await each.beat()
        it.node.follow_seal(Seal(KeyIdentity(SigningKey.generate("ed25519")), "main"))
        it.node.ring(CANISTER)
        await until(lambda: other.node.doorbell.counts["forged"])
        assert other.local.nudged == []


async def test_a_doorbell_that_is_not_heard_is_connected_anew():
    engine = MemoryEngine(Board())
    async with beating(engine) as it:
        await until(lambda: engine.listening == 1)
        engine.is_deaf = True
        for _ in range(doorbell.DEAF_BEATS + 2):
            await it.beat()
        await until(lambda: engine.listening == 2)
        engine.is_deaf = False
        for _ in range(3 * doorbell.DEAF_BEATS):
            await it.beat()
            await until(lambda: not it.node.doorbell._unheard)
        assert engine.listening == 2


def test_a_doorbell_names_its_sender_by_the_incarnation():
    async def main() -> None:
        it = Beating(MemoryEngine(Board()))
        assert len(bytes.fromhex(it.node.incarnation)) == rings.SENDER_BYTES

    asyncio.run(main())


async def test_a_worker_advertises_no_address_where_it_does_not_answer_after_a_reload():
    board = Board()
    async with beating(MemoryEngine(board), settings={"peer": None}) as it:
        loaded = it.node.settings.model_copy(update={"peer": "10.0.0.1:9700", "give_up_after": 77.0})
        it.node.follow(loaded)
        await it.beat()
        assert it.node.settings.give_up_after == 77.0
        assert not (await it.node.nodes())[0].info.peer
