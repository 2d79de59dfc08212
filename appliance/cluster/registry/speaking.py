"""Speaks for nodes that died: judges whether they did, and has their canisters told of each client."""

import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

import structlog

from appliance.cluster.engine import DEAD_MS, SILENT_MS
from appliance.cluster.registry import peers
from appliance.cluster.registry.clients import decode
from appliance.cluster.registry.engine import Owner, Registry, Suspect
from appliance.cluster.registry.evidence import ASKED_WITHIN_S, Evidence, Outcome, Question, Verdict
from appliance.cluster.registry.own import Process
from appliance.cluster.seal import Seal
from appliance.errors import Malformed
from appliance.gateway.nodes import Known, Place
from appliance.gateway.tasks import Tasks

_log = structlog.get_logger(__name__)

PAGES = 4
"""Pages of entries of one process that are read with one heartbeat; the next one goes on behind them."""
PLACES = 500
"""In one command."""
PENDING = 500
"""Close calls that wait for their turn, beyond which no more are added."""
AGAIN_S = 120.0
"""After a close call was begun that has not ended at the engine, until it is begun once more."""
ASKED_EARLY_S = ASKED_WITHIN_S + 4.0
"""Before a node could be given up, the questions begin."""

Ask = Callable[[str, str, Seal], Awaitable[Outcome]]


class Teller(Protocol):
    """The gateway of this node."""

    def tell(self, known: Known) -> bool:
        """Have the canister told that a client of another node left. False for one whose session had a principal that
        this gateway does not sign for.
        """

    @property
    def untold(self) -> int:
        """Close calls that are due for clients that are not of a session here."""

    def given_up(self, node: str, **facts: object) -> None:
        """Publish that a node is given up."""


def address_tag(seal: Seal, node: str, incarnation: str, address: str) -> str:
    """What proves that an address is that of a process: the engine must not send the questions elsewhere."""
    return seal.tag("peer", node.encode(), incarnation.encode(), address.encode()).hex()


@dataclass
class _Reading:
    """How far the entries of a process are read, and which of them were found. ``contact_since`` is when the contact
    with the engine began: where another answers, places in the entries of the one before say nothing.
    """

    contact_since: float
    start: bytes = b""
    found: set[bytes] = field(default_factory=set)


class Speaking:
    """``counts`` has the clients of dead nodes that cannot be told: ``forged`` and ``other_identity``; ``given_up``
    counts nodes; ``suspects`` are the processes as the engine last had them, and ``verdicts`` what is known of those
    that are silent, by incarnation.
    """

    def __init__(
        self,
        process: Process,
        registry: Registry,
        tasks: Tasks,
        *,
        is_settled: Callable[[], bool],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """``is_settled``: the engine is believed about places; before, clients that have one cannot be told of."""
        self.counts: Counter[str] = Counter()
        self.given_up = 0
        self.suspects: Sequence[Suspect] = ()
        self.verdicts: Mapping[str, Verdict] = {}
        self.ask: Ask = peers.ask
        self._process = process
        self._registry = registry
        self._tasks = tasks
        self._is_settled = is_settled
        self._monotonic = monotonic
        self._evidence: dict[str, Evidence] = {}
        self._asking: set[str] = set()
        self._begun: dict[tuple[str, bytes], float] = {}
        self._readings: dict[str, _Reading] = {}
        self._is_done: set[str] = set()

    async def look(self, teller: Teller, after_s: float) -> None:
        """With each heartbeat: see who is silent, and go on with what follows. Raises EngineAway."""
        process = self._process
        self.suspects = await process.commands.run(self._registry.suspects, process.timeout_s, is_vital=True)
        others = [each for each in self.suspects if each.node != process.name]
        # One that is replaced and has no client any more may still have places, which are nobody's once it is given up.
        # One that has returned may die before the engine knows the process that goes on.
        judged = {
            each.incarnation: each
            for each in others
            if not each.given or (each.given == "returned" and not each.is_replaced)
        }
        self._is_done.difference_update(judged)
        self._evidence = {key: value for key, value in self._evidence.items() if key in judged}
        self.verdicts = {each.incarnation: self._judged(each, after_s) for each in judged.values()}
        for each in judged.values():
            if self.verdicts[each.incarnation] == "dead":
                await self._give_up(each, teller, after_s)
            elif each.silent_ms > SILENT_MS and self._is_answered(each.incarnation):
                await self._attest(each)
        if not self._is_settled():
            return
        for each in others:
            if each.given == "given" and each.incarnation not in self._is_done:
                await self._speak(each, teller, after_s)

    @property
    def problem(self) -> str | None:
        """Which silent nodes nobody will give up, as a sentence."""
        silent = [each for each in self.suspects if each.incarnation in self.verdicts and each.silent_ms > DEAD_MS]
        names = [each.node for each in silent if not each.is_replaced and self._address(each) is None]
        if not names:
            return None
        return (
            f"nobody gives up {', '.join(names)}, which is silent and has no cluster.peer: until it is back, clients "
            "of v0 and v1 that leave are not reported"
        )

    # --- judging ----------------------------------------------------------------------------------------------------

    def _judged(self, suspect: Suspect, after_s: float) -> Verdict:
        now, silent_s = self._monotonic(), suspect.silent_ms / 1000
        if silent_s < after_s - ASKED_EARLY_S:  # most nodes, with each heartbeat: of their addresses nothing is needed
            self._evidence.pop(suspect.incarnation, None)
            return "heard"
        contact_s, address = now - self._process.contact.since, self._address(suspect)
        has_address = address is not None
        before = self._evidence.get(suspect.incarnation) or Evidence(silent_s, contact_s, has_address)
        evidence = before.seen(
            silent_s=silent_s, contact_s=contact_s, has_address=has_address, is_attested=suspect.is_attested
        )
        self._evidence[suspect.incarnation] = evidence
        if address is not None and suspect.incarnation not in self._asking:
            self._asking.add(suspect.incarnation)
            self._tasks.start(self._ask(address, suspect))
        return evidence.verdict(now, after_s)

    def _address(self, suspect: Suspect) -> str | None:
        address, tag = suspect.info.peer, suspect.info.peer_tag
        for seal in self._process.seals:
            if address and tag == address_tag(seal, suspect.node, suspect.incarnation, address):
                return address
        return None

    async def _ask(self, address: str, suspect: Suspect) -> None:
        incarnation = suspect.incarnation
        try:
            outcome = await self.ask(address, incarnation, self._process.seals[0])
        finally:
            self._asking.discard(incarnation)
        if outcome == "another" and suspect.given == "returned":
            outcome = "answered"  # by the process that goes on, which the engine does not know yet
        if (evidence := self._evidence.get(incarnation)) is not None:
            self._evidence[incarnation] = evidence.asked(Question(self._monotonic(), outcome))

    def _is_answered(self, incarnation: str) -> bool:
        evidence = self._evidence.get(incarnation)
        return evidence is not None and evidence.is_answered(self._monotonic())

    async def _attest(self, suspect: Suspect) -> None:
        """Whoever cannot reach it must not give it up: that has found a broken path, not a dead node."""
        process, owner = self._process, Owner(suspect.node, suspect.incarnation)
        await process.commands.run(
            lambda: self._registry.attest(process.name, process.incarnation, owner), process.timeout_s, is_vital=True
        )

    async def _give_up(self, suspect: Suspect, teller: Teller, after_s: float) -> None:
        if await self._claim(suspect, after_s):
            self._evidence.pop(suspect.incarnation, None)
            self._begun = {key: at for key, at in self._begun.items() if key[0] != suspect.incarnation}
            if suspect.is_replaced and not suspect.clients:
                return  # it has come back, and nobody has to be told
            self.given_up += 1
            _log.warning(
                "a node is given up: this one tells its canisters of its clients",
                node=suspect.node,
                silent_s=suspect.silent_ms // 1000,
                clients=suspect.clients,
            )
            teller.given_up(suspect.node, incarnation=suspect.incarnation, clients=suspect.clients)

    async def _claim(self, suspect: Suspect, after_s: float) -> bool:
        process, owner = self._process, Owner(suspect.node, suspect.incarnation)
        return await process.commands.run(
            lambda: self._registry.give_up(process.name, process.incarnation, owner, round(after_s * 1000)),
            process.timeout_s,
            is_vital=True,
        )

    # --- speaking ---------------------------------------------------------------------------------------------------

    async def _speak(self, suspect: Suspect, teller: Teller, after_s: float) -> None:
        """Begin the close calls of some of its clients. Which of two nodes makes one is decided with each call."""
        reading = self._readings.pop(suspect.incarnation, None)  # while another node speaks, entries come and go
        if not await self._claim(suspect, after_s):
            return
        since = self._process.contact.since
        if reading is None or reading.contact_since != since:
            reading = _Reading(since)
        self._readings[suspect.incarnation] = reading
        for _ in range(PAGES):
            if not await self._read_page(Owner(suspect.node, suspect.incarnation), reading, teller):
                return
            if not reading.start:
                self._has_read(suspect, reading.found, teller)
                return

    async def _read_page(self, owner: Owner, reading: _Reading, teller: Teller) -> bool:
        """Returns False where there are more than can be told: then the page is read again."""
        process = self._process
        if teller.untold >= PENDING:
            return False
        page = await process.commands.run(
            lambda: self._registry.clients(owner, reading.start), process.timeout_s, is_vital=True
        )
        for each, value in page.entries.items():
            if teller.untold >= PENDING:
                return False
            reading.found.add(each)
            await self._begin(owner, each, value, teller)
        reading.start = page.next
        return True

    def _has_read(self, suspect: Suspect, found: set[bytes], teller: Teller) -> None:
        """All entries of a process were read, from the first to the last."""
        del self._readings[suspect.incarnation]
        gone = [key for key in self._begun if key[0] == suspect.incarnation and key[1] not in found]
        for key in gone:
            del self._begun[key]
        if not found and not teller.untold:
            self._is_done.add(suspect.incarnation)
            _log.info("the canisters of a node that was given up are told", node=suspect.node)

    async def _begin(self, owner: Owner, field: bytes, value: bytes, teller: Teller) -> None:
        now, key = self._monotonic(), (owner.incarnation, field)
        if now - self._begun.get(key, -AGAIN_S) < AGAIN_S:
            return
        is_first = key not in self._begun
        try:
            known = decode(value, self._process.seals, node=owner.node, field=field)
        except Malformed as error:
            self.counts["forged"] += 1
            _log.warning("the engine has a client of a dead node that nobody wrote", node=owner.node, cause=str(error))
            await self._process.commands.run(
                lambda: self._registry.drop(owner, field), self._process.timeout_s, is_vital=True
            )
            return
        self._begun[key] = now
        if not teller.tell(known) and is_first:
            self.counts["other_identity"] += 1

    # --- returning --------------------------------------------------------------------------------------------------

    async def told_in_the_name_of(self, incarnation: str) -> Mapping[bytes, int]:
        """A process of this node was given up: let nobody speak for it any more. Returns whom others have told of, as
        ``Registry.returned``. Raises EngineAway.
        """
        process = self._process
        return await process.commands.run(
            lambda: self._registry.returned(process.name, incarnation), process.timeout_s, is_vital=True
        )

    async def is_given_up(self, incarnation: str) -> bool:
        """Whether somebody may speak for a process of this node. Raises EngineAway."""
        process = self._process
        suspects = await process.commands.run(self._registry.suspects, process.timeout_s, is_vital=True)
        return any(each.incarnation == incarnation and each.given == "given" for each in suspects)

    async def taken_from(self, incarnation: str, places: Sequence[Place]) -> set[Place]:
        """Which of these places a process that was given up does not hold any more, or never did: their canisters may
        have been told of an earlier session, and have ended this one. Raises EngineAway.
        """
        process, taken = self._process, set[Place]()
        for start in range(0, len(places), PLACES):
            part = places[start : start + PLACES]
            holds = await process.commands.run(
                partial(self._registry.holds, incarnation, part), process.timeout_s, is_vital=True
            )
            taken.update(each for each, is_held in zip(part, holds, strict=True) if not is_held)
        return taken
