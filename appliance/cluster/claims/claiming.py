"""Claims the opening messages of a node, and knows which were relayed without."""

from collections import Counter
from collections.abc import Callable
from functools import partial

from appliance.cluster.claims.places import Places
from appliance.cluster.claims.unclaimed import Unclaimed
from appliance.cluster.engine import ClaimAnswer, Engine, Held
from appliance.cluster.registry.own import OwnClients, Process
from appliance.errors import ClientLeaving, EngineAway, GatewayError, OpeningClaimed
from appliance.gateway.nodes import Claim, Place

Late = Callable[[GatewayError | None], None]


class Claiming:
    """``counts`` has the claims by result, ``unclaimed`` the openings that were relayed without an answer. ``places``
    are those of this node, ``time`` is that of the engine.
    """

    def __init__(
        self,
        process: Process,
        engine: Engine,
        own: OwnClients,
        *,
        clock: Callable[[], int],
        monotonic: Callable[[], float],
        unplaced: Callable[[], None],
    ) -> None:
        """``clock`` is ns since 1970. ``unplaced`` is called when the engine may not know of a place."""
        self.counts: Counter[str] = Counter()
        self.unclaimed = Unclaimed()
        self.places = Places()
        self.time = own.time
        self._process = process
        self._engine = engine
        self._own = own
        self._clock = clock
        self._monotonic = monotonic
        self._unplaced = unplaced

    def held(self, places: "list[Place]") -> list[Held]:
        """These places, as the engine is told of them."""
        held = self.places.held(places, self._monotonic())
        return [Held(place, self.time.latest_ms(since)) for place, since in held]

    async def claim(self, claim: Claim, within_s: float, late: Late) -> bool:
        """See Nodes. The answer is waited for ``within_s`` seconds."""
        if not (claim.request_id or claim.place.group):
            return True
        at = self._monotonic()
        is_asked = self._process.contact.state == "joined"
        answer = await self._ask(claim, within_s, at, late) if is_asked else None
        self.counts[answer or "unknown"] += 1
        if answer is None:
            self.unclaimed.add(claim, is_asked=is_asked)
        elif (refusal := _refusal(answer, claim)) is not None:
            raise refusal
        self.places.take(claim.place, at)
        if answer is None and is_asked and claim.place.group:
            self._unplaced()
        return answer == "granted"

    async def _ask(self, claim: Claim, within_s: float, at: float, late: Late) -> ClaimAnswer | None:
        """None where no answer comes in time."""
        process, entry = self._process, None if claim.known is None else self._own.entry(claim.known)
        make = partial(
            self._engine.claim,
            process.name,
            process.incarnation,
            claim,
            now_ns=self._clock(),
            since_ms=self.time.latest_ms(at),
            entry=entry,
        )
        answer: ClaimAnswer | None = None
        try:
            answer = await process.commands.run(make, within_s, late=partial(self._late, claim, late))
        except EngineAway:
            return None
        finally:
            if entry is not None and claim.known is not None and answer != "granted":
                self._own.unclaimed(claim.known)
        return None if answer == "given" else answer

    def _late(self, claim: Claim, late: Late, answer: ClaimAnswer) -> None:
        self.counts[f"late {answer}"] += 1
        self.unclaimed.answered(claim)
        if claim.known is not None and answer == "granted":
            self._own.written_late(claim.known)
        if answer not in ("doubted", "given"):
            late(_refusal(answer, claim))


def _refusal(answer: ClaimAnswer, claim: Claim) -> GatewayError | None:
    match answer:
        case "used":
            return OpeningClaimed(claim.request_id.hex())
        case "leaving":
            return ClientLeaving(claim.client)
    return None
