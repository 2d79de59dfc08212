"""The scripts of the registry at a real Redis do what the board in memory does."""

import os
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
from redis.asyncio import Redis

from appliance.cluster.engine import SILENT_MS, Beat, Entry, Held, Joined
from appliance.cluster.redis_engine import RedisEngine
from appliance.cluster.registry.engine import ATTESTED_MS, PAGE, PAST, Owner, Suspect
from appliance.cluster.registry.redis_registry import RedisRegistry
from appliance.gateway.nodes import Place
from tests.cluster.board import Board
from tests.cluster.nodes import CANISTER, FACTS, INFO, NOW_NS, claim
from tests.cluster.redis_pace import Pace, paced
from tests.cluster.redis_server import RedisServer, redis_server
from tests.cluster.test_redis_engine import SENT_MS, engine_at

LONG_MS = 60_000


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with redis_server(tmp_path_factory.mktemp("redis")) as running:
        yield running


PROCESSES = [("a", "a" * 16), ("a", "1" * 16), ("b", "b" * 16), ("c.2", "c" * 16)]
FIELDS = [b"x" * 16, b"\x00:|" + b"y" * 13]
PLACES = [Place(CANISTER, b""), Place(CANISTER, b"x")]
STEPS = ["beat", "die", "silence", "claim", "hold", "release", "write", "give_up", "clients", "drop", "tell", "told"]
STEPS += ["tell", "returned", "holds", "attest", "forget"]
SEEDS = int(os.environ.get("ICWS_ENGINE_EXAMPLES", "25"))
LENGTH = 60


class Both:
    """The same steps at both. What depends on the time is left out."""

    def __init__(self, engine: RedisEngine, raw: Redis, board: Board, pace: Pace) -> None:
        self.pace = pace
        self.engine = engine
        self.raw = raw
        self.board = board

    async def doubt_nothing(self) -> None:
        """Only a claim that is granted writes its client."""
        await self.raw.set("icws:both:doubt", "1", px=3_600_000)
        self.board.doubted_until = 0, 10**15

    async def do(self, name: str, *args: Any) -> None:
        self.pace.step()
        self.board.now_ms += 2
        ours, theirs = await getattr(self, f"_{name}")(*args)
        self.pace.compare(ours, theirs, name, args)

    async def _beat(self, who: tuple[str, str], is_confirmed: bool = True) -> tuple[Any, Any]:
        beat = Beat(*who, 1, FACTS, INFO, is_confirmed=is_confirmed)
        answers = [await self.engine.beat(beat), self.board.beat(beat)]
        return tuple(replace(each, engine_ms=0) if isinstance(each, Joined) else each for each in answers)

    async def _die(self, node: str) -> tuple[Any, Any]:
        await self.raw.delete(f"icws:both:node:{node}")
        self.board.names.pop(node, None)
        return 0, 0

    async def _silence(self, node: str) -> tuple[Any, Any]:
        for key in ("icws:both:nodes", "icws:both:past"):
            for name, record in (await self.raw.hgetall(key)).items():
                if name.decode().rpartition(":")[2] == node:
                    at, rest = record.split(b"|", 1)
                    await self.raw.hset(key, name, b"%d|%s" % (int(at) - LONG_MS, rest))
        infos, past = self.board.infos, self.board.registry.past
        for records, names in ((infos, [node]), (past, [each for each in past if each[1] == node])):
            for name in names:
                if name in records:
                    records[name] = records[name][0] - LONG_MS, *records[name][1:]
        return 0, 0

    async def _attest(self, who: tuple[str, str], owner: tuple[str, str]) -> tuple[Any, Any]:
        return await self._both("attest", *who, Owner(*owner))

    async def _forget(self, owner: tuple[str, str]) -> tuple[Any, Any]:
        """The time of the last attestation passes."""
        await self.raw.delete(f"icws:both:attested:{owner[1]}")
        self.board.registry.attested.pop(owner[1], None)
        return 0, 0

    async def _claim(self, who: tuple[str, str], field: bytes, place: Place) -> tuple[Any, Any]:
        made = claim(field * 2, group=place.group)
        entry = Entry(field, who[1].encode() + b":\x00value")
        args = {"now_ns": NOW_NS, "since_ms": SENT_MS, "entry": entry}
        return await self.engine.claim(*who, made, **args), self.board.claim(*who, made, **args)

    async def _hold(self, who: tuple[str, str]) -> tuple[Any, Any]:
        held = [Held(Place(CANISTER, b"x"), SENT_MS)]
        return await self.engine.hold(*who, held), self.board.hold(*who, held)

    async def _release(self, who: tuple[str, str]) -> tuple[Any, Any]:
        place = Place(CANISTER, b"x")
        return await self.engine.release(*who, place), self.board.release(*who, place)

    async def _write(self, who: tuple[str, str], field: bytes, is_removed: bool) -> tuple[Any, Any]:
        changes = {field: None if is_removed else who[1].encode() + b"written"}
        return await self._both("write", *who, changes)

    async def _give_up(self, who: tuple[str, str], owner: tuple[str, str]) -> tuple[Any, Any]:
        return await self._both("give_up", *who, Owner(*owner), LONG_MS // 2)

    async def _clients(self, owner: tuple[str, str]) -> tuple[Any, Any]:
        ours, theirs = await every_client(self.engine.registry, owner), self.board.registry.clients(Owner(*owner), b"")
        assert not theirs.next
        return ours, theirs.entries

    async def _drop(self, owner: tuple[str, str], field: bytes) -> tuple[Any, Any]:
        return await self._both("drop", Owner(*owner), field)

    async def _tell(
        self, who: tuple[str, str], owner: tuple[str, str], field: bytes, place: Place, is_later: bool
    ) -> tuple[Any, Any]:
        return await self._both("tell", *who, Owner(*owner), field, place, earlier_ms=10**14 if is_later else 0)

    async def _told(
        self, who: tuple[str, str], owner: tuple[str, str], field: bytes, place: Place, is_told: bool
    ) -> tuple[Any, Any]:
        return await self._both("told", *who, Owner(*owner), field, place, is_told=is_told)

    async def _returned(self, who: tuple[str, str]) -> tuple[Any, Any]:
        ours, theirs = await self._both("returned", *who)
        return sorted(ours), sorted(theirs)

    async def _holds(self, who: tuple[str, str]) -> tuple[Any, Any]:
        return await self._both("holds", who[1], [Place(CANISTER, b"x"), Place(CANISTER, b"y")])

    async def _both(self, name: str, *args: Any, **options: Any) -> tuple[Any, Any]:
        ours = await getattr(self.engine.registry, name)(*args, **options)
        return ours, getattr(self.board.registry, name)(*args, **options)


async def every_client(registry: RedisRegistry, owner: tuple[str, str]) -> dict[bytes, bytes]:
    found: dict[bytes, bytes] = {}
    start = b""
    while True:
        page = await registry.clients(Owner(*owner), start)
        assert len(page.entries) < 2 * PAGE
        found |= page.entries
        if not (start := page.next):
            return found


def timeless(suspects: Sequence[Suspect]) -> list[Suspect]:
    return [replace(each, silent_ms=each.silent_ms // 30_000, given_ms=0) for each in suspects]


async def run(engine: RedisEngine, raw: Redis, chance: random.Random) -> None:
    board = Board(now_ms=10**7)
    board.flush()
    await raw.flushall()
    with paced(SILENT_MS) as pace:
        both = Both(engine, raw, board, pace)
        await both.doubt_nothing()
        for who in PROCESSES[1:]:
            await both.do("beat", who)
        for _ in range(LENGTH):
            name = chance.choice(STEPS)
            if name == "beat":
                await both.doubt_nothing()
            who, owner, field, place = map(chance.choice, (PROCESSES, PROCESSES, FIELDS, PLACES))
            flag = chance.random() < 0.5
            await both.do(name, *ARGUMENTS[name](who, owner, field, place, flag))
            if name in ("silence", "attest", "give_up", "told"):
                pace.compare(timeless(await engine.registry.suspects()), timeless(board.registry.suspects()))
    for key in await raw.keys("*"):
        if key not in (b"icws:both:nodes", b"icws:both:past", b"icws:both:doubt"):
            assert -1 != await raw.pttl(key) <= 86_400_000, key


ARGUMENTS: dict[str, Callable[..., tuple[Any, ...]]] = {
    "beat": lambda who, owner, field, place, flag: (who, flag),
    "die": lambda who, *_: (who[0],),
    "silence": lambda who, *_: (who[0],),
    "claim": lambda who, owner, field, place, flag: (who, field, place),
    "hold": lambda who, *_: (who,),
    "release": lambda who, *_: (who,),
    "write": lambda who, owner, field, place, flag: (who, field, flag),
    "attest": lambda who, owner, *_: (who, owner),
    "forget": lambda who, owner, *_: (owner,),
    "give_up": lambda who, owner, *_: (who, owner),
    "clients": lambda who, *_: (who,),
    "drop": lambda who, owner, field, *_: (who, field),
    "tell": lambda who, owner, field, place, flag: (who, owner, field, place, flag),
    "told": lambda who, owner, field, place, flag: (who, owner, field, place, flag),
    "returned": lambda who, *_: (who,),
    "holds": lambda who, *_: (who,),
}


async def test_redis_does_what_the_board_does(server: RedisServer) -> None:
    async with engine_at(server.url, name="both") as engine, Redis.from_url(server.url) as raw:
        for seed in range(SEEDS):
            try:
                await run(engine, raw, random.Random(seed))
            except AssertionError as error:
                raise AssertionError(f"seed {seed}") from error


async def test_the_entries_of_a_process_are_read_in_pages(server: RedisServer) -> None:
    async with engine_at(server.url, name="both") as engine, Redis.from_url(server.url) as raw:
        await raw.flushall()
        had, has = PROCESSES[0], PROCESSES[1]
        entries = {b"%016d" % number: has[1].encode() + b"e" * 200 for number in range(4 * PAGE)}
        old = {b"old %d" % number: had[1].encode() + b"e" * 200 for number in range(3)}
        told = {b"told %d" % number: b"b" * 16 + b":b:1:" + had[1].encode() for number in range(2)}
        await raw.hset("icws:both:known:a", mapping={**entries, **old})
        await raw.hset("icws:both:telling:a", mapping=told)
        assert await every_client(engine.registry, has) == entries
        assert await every_client(engine.registry, had) == old | dict.fromkeys(told, had[1].encode())


@pytest.mark.parametrize(("is_later", "answer"), [(False, "taken"), (True, "free")])
async def test_what_was_told_of_an_earlier_session_says_nothing_of_a_later_one(
    server: RedisServer, is_later: bool, answer: str
) -> None:
    async with engine_at(server.url, name="both") as engine, Redis.from_url(server.url) as raw:
        await raw.flushall()
        with paced(SILENT_MS) as pace:
            both = Both(engine, raw, Board(now_ms=10**7), pace)
            had, has, teller = PROCESSES[0], PROCESSES[1], PROCESSES[2]
            client = FIELDS[0], PLACES[0]
            await both.do("beat", had)
            await both.do("beat", teller)
            await both.do("write", had, FIELDS[0], False)
            await both.do("die", "a")
            await both.do("silence", "a")
            await both.do("give_up", teller, had)
            await both.do("tell", teller, had, *client, False)
            await both.do("told", teller, had, *client, True)
            await both.do("beat", has)
            pace.compare(await both._tell(has, has, *client, is_later), (answer, answer))


async def test_the_last_processes_of_a_name_are_remembered(server: RedisServer) -> None:
    async with engine_at(server.url, name="both") as engine, Redis.from_url(server.url) as raw:
        await raw.flushall()
        with paced(SILENT_MS) as pace:
            both = Both(engine, raw, Board(now_ms=10**7), pace)
            for number in range(PAST + 3):
                await both.do("beat", ("a", f"{number:016x}"))
                await both.do("die", "a")
                await both.do("silence", "a" if number == PAST else "b")
            await both.do("beat", ("b", "b" * 16))
            ours, theirs = await engine.registry.suspects(), both.board.registry.suspects()
            pace.compare(timeless(ours), timeless(theirs))
            of_a = [each for each in ours if each.node == "a"]
            assert sum(each.is_replaced for each in of_a) == PAST
            assert [each.incarnation for each in of_a if not each.is_replaced] == [f"{PAST + 2:016x}"]


async def test_who_is_attested_is_not_given_up_until_that_is_over(server: RedisServer) -> None:
    async with engine_at(server.url, name="both") as engine, Redis.from_url(server.url) as raw:
        await raw.flushall()
        with paced(SILENT_MS) as pace:
            both = Both(engine, raw, Board(now_ms=10**7), pace)
            dead, judge, witness = PROCESSES[0], PROCESSES[2], PROCESSES[3]
            for who in (dead, judge, witness):
                await both.do("beat", who)
            await both.do("die", "a")
            await both.do("silence", "a")
            await both.do("attest", witness, dead)
            assert [each.is_attested for each in await engine.registry.suspects()] == [True, False, False]
            pace.compare(await both._give_up(judge, dead), (False, False))
            assert 0 < await raw.pttl(f"icws:both:attested:{dead[1]}") <= ATTESTED_MS
            await both.do("forget", dead)
            await both.do("attest", ("b", "0" * 16), dead)  # a process that nobody knows
            pace.compare(await both._give_up(judge, dead), (True, True))
