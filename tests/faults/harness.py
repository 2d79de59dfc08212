"""Runs a schedule: real clients, a real gateway, a real local network, and the faulty proxies between the last two."""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Container, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import aiohttp
from structlog.testing import capture_logs

from appliance.config.schema import Config
from appliance.crypto import Verifier
from appliance.localnet.net import Localnet
from appliance.service import Service, serving
from tests.faults.canister import Room
from tests.faults.clients import Participant
from tests.faults.kinds import Fault
from tests.faults.liar import Liar
from tests.faults.oracle import Tally, problems_of, tally_of
from tests.faults.proxy import Endpoint
from tests.faults.schedule import Schedule

SEED = b"the network of the fault schedules"
TURN_S = 0.01
PATIENCE_S = 20.0
"""From the end of the last fault until every client has everything."""
STOP_S = 10.0
STOP_TOLERANCE_S = 5.0
HANGS_S = 60.0
"""Beside the patience: whatever takes longer than that hangs."""


@dataclass
class Outcome:
    """What came of a schedule: ``problems`` in words, none where all is well; how often each fault struck; how many
    sessions were needed; what became of the messages; and the time from the end of the faults until all was well."""

    schedule: Schedule
    problems: list[str] = field(default_factory=list)
    strikes: Counter[str] = field(default_factory=Counter)
    sessions: int = 0
    messages: Tally = field(default_factory=Tally)
    recovery_s: float = 0.0

    def report(self) -> str:
        """The problems, the schedule and the command that repeats it."""
        command = f"python -m tests.faults {self.schedule.name}"
        strikes = ", ".join(f"{name} {count} times" for name, count in self.strikes.items()) or "none"
        problems = [
            problem if count == 1 else f"{problem} ({count} times)" for problem, count in Counter(self.problems).items()
        ]
        return "\n".join([*problems, "", str(self.schedule), f"strikes: {strikes}", f"to repeat it: {command}"])


async def run(
    schedule: Schedule, *, conditions: Any = None, patience_s: float = PATIENCE_S, **sections: Any
) -> Outcome:
    """Run a schedule. ``conditions`` are those of the local network, by default one that does everything at once;
    ``sections`` are those of ``gateway.yaml``.
    """
    options = {} if conditions is None else {"conditions": conditions}
    async with Localnet(subnet=True, seed=SEED, **options) as localnet:
        stage = _Stage(localnet, schedule)
        with _log_problems(stage.outcome.problems):
            try:
                async with asyncio.timeout(patience_s + HANGS_S):
                    await stage.run(sections, patience_s)
            except Exception as error:  # whatever it is, the other schedules are to be run
                stage.outcome.problems.append(f"the run itself failed: {error!r}")
    if schedule.must_strike and not stage.outcome.strikes:
        stage.outcome.problems.append("the fault never struck: this run shows nothing")
    return stage.outcome


class _Stage:
    """One run of a schedule."""

    def __init__(self, localnet: Localnet, schedule: Schedule) -> None:
        self.outcome = Outcome(schedule)
        self._localnet = localnet
        self._schedule = schedule
        self._room = Room()
        self._canister_id = localnet.create_canister(self._room)
        self._participants = _participants()
        self._began = time.monotonic()

    async def run(self, sections: Mapping[str, Any], patience_s: float) -> None:
        """Let everybody talk, then stop the gateway, and see what it leaves behind."""
        problems = self.outcome.problems
        async with self._endpoints() as endpoints:
            before = asyncio.all_tasks()
            with TemporaryDirectory() as folder:
                async with serving(self._config(endpoints, Path(folder), sections)) as service:
                    await self._talk(service, patience_s)
                    stopping_at = time.monotonic()
            problems += _left_behind(service, before, time.monotonic() - stopping_at)
            problems += self._left_in_the_canister()
            self.outcome.strikes = sum((endpoint.strikes for endpoint in endpoints), Counter())

    @asynccontextmanager
    async def _endpoints(self) -> AsyncIterator[list[Endpoint]]:
        schedule, localnet = self._schedule, self._localnet
        async with AsyncExitStack() as stack:
            connector = aiohttp.TCPConnector(limit=0)
            session = await stack.enter_async_context(aiohttp.ClientSession(connector=connector, auto_decompress=False))
            liar = Liar(seed=SEED, url=localnet.url, root_key=localnet.root_key, canister_id=self._canister_id)
            if any("another_gateway" in rule.fault for rule in schedule.rules):
                await stack.enter_async_context(liar.gateway())
            endpoints = [
                Endpoint(localnet.url, session, liar, partial(self._choose, number))
                for number in range(schedule.endpoints)
            ]
            for endpoint in endpoints:
                await stack.enter_async_context(endpoint.serving())
            yield endpoints

    def _choose(self, endpoint: int, kind: str, number: int, struck: Container[str]) -> tuple[Fault, Random] | None:
        return self._schedule.choose(endpoint, kind, number, time.monotonic() - self._began, struck)

    def _config(self, endpoints: list[Endpoint], folder: Path, sections: Mapping[str, Any]) -> Config:
        """Time-outs of a second, so that a schedule takes no longer than that."""
        network = {"url": [endpoint.url for endpoint in endpoints], "root_key": self._localnet.root_key.hex()}
        identity = str(folder / "identity.pem")
        return Config.model_validate(
            {
                "gateway": {"listen": "127.0.0.1:0", "identity": identity, "open_timeout": "10s"},
                "drain": {"deadline": STOP_S},
                "network": {**network, "timeout": "1s"},
                "polling": {"min_interval": "10ms", "max_interval": "50ms", "timeout": "500ms"},
                "canisters": [{"id": str(self._canister_id)}],
                **sections,
            }
        )

    async def _talk(self, service: Service, patience_s: float) -> None:
        verifier = Verifier(self._localnet.root_key)
        self._began = time.monotonic()
        tasks = [
            asyncio.create_task(each.take_part(service.url, self._canister_id, verifier)) for each in self._participants
        ]
        try:
            await self._settle(self._began + self._schedule.healed_s, patience_s)
            self._judge()
        finally:
            for task in tasks:
                task.cancel()
            ends = await asyncio.gather(*tasks, return_exceptions=True)
        self.outcome.problems += [f"a client failed: {end!r}" for end in ends if isinstance(end, Exception)]

    async def _settle(self, healed_at: float, patience_s: float) -> None:
        """Wait until the faults have ended and every client has everything, for so long at most. The time is counted in
        turns of this loop, which are as long on a machine that has time, and as many on one that has none.
        """
        turns = 0
        while waiting := [each for each in self._participants if not each.is_settled(self._room.log_of)]:
            turns += time.monotonic() > healed_at
            if turns * TURN_S > patience_s or all(each.has_given_up for each in waiting):
                self.outcome.problems += [each.state for each in waiting]
                break
            await asyncio.sleep(TURN_S)
        self.outcome.recovery_s = time.monotonic() - healed_at

    def _judge(self) -> None:
        for each in self._participants:
            for session in each.sessions:
                log = self._room.log_of(session.principal)
                self.outcome.problems += problems_of(session, *log)
                self.outcome.messages += tally_of(session, *log)
            self.outcome.sessions += len(each.sessions)

    def _left_in_the_canister(self) -> Iterator[str]:
        """Clients that have gone, other than those of a liar's gateway, which stay."""
        ours = {session.principal for each in self._participants for session in each.sessions}
        left = ours & set(self._room.clients)
        if left:
            yield f"the canister still has {len(left)} clients that have gone"


def _participants() -> list[Participant]:
    """Two that talk, one that only listens, and one that comes later, while faults strike."""
    return [
        Participant("Alice", texts=[f"Alice {number}" for number in range(12)], pause_s=0.1),
        Participant("Bob", texts=[f"Bob {number}" for number in range(6)], pause_s=0.2),
        Participant("the listener"),
        Participant("the newcomer", comes_s=0.7, texts=["I am new", "here"], pause_s=0.05),
    ]


def _left_behind(service: Service, before: set[asyncio.Task[Any]], took_s: float) -> Iterator[str]:
    gateway = service.gateway
    if took_s > STOP_S + STOP_TOLERANCE_S:
        yield f"the gateway took {took_s:.1f} s to stop"
    counts = {
        "sessions in the hub": len(gateway.hub),
        "tasks of the gateway": len(gateway.tasks),
        "close calls": gateway.pending_close_calls,
        "sockets": len(service.listener),
    }
    yield from (f"{count} {what} are left" for what, count in counts.items() if count)
    left = [task for task in asyncio.all_tasks() - before if not task.done() and not _is_of_the_network(task)]
    yield from (f"a task is left: {task!r}" for task in left)


def _is_of_the_network(task: asyncio.Task[Any]) -> bool:
    """Whether a task serves a connection of the local network or of a proxy: those end after the gateway."""
    code = getattr(task.get_coro(), "cr_code", None)
    return code is not None and any(part in code.co_filename for part in ("aiohttp/web", "tests/faults/proxy"))


@contextmanager
def _log_problems(problems: list[str]) -> Iterator[None]:
    """Whatever is logged with a traceback, or as an error, is a problem."""
    handler = _Errors(problems)
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        with capture_logs() as entries:
            yield
    finally:
        root.removeHandler(handler)
    for entry in entries:
        if entry.get("exc_info") or entry["log_level"] in ("error", "critical"):
            problems.append(f"logged as {entry['log_level']}: {entry['event']}: {entry.get('exc_info')!r}")
        elif entry["event"] == "stopped before all was done":
            problems.append("the gateway stopped before all was done")


class _Errors(logging.Handler):
    def __init__(self, problems: list[str]) -> None:
        super().__init__()
        self._problems = problems

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info or record.levelno >= logging.ERROR:
            problem = record.exc_info[1] if record.exc_info else ""
            self._problems.append(f"logged by {record.name}: {record.getMessage()} {problem!r}")
