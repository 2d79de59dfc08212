"""A canister: whether it is there, what it speaks, and whether it knows this gateway."""

from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from appliance.cli.diagnosis.findings import Finding, fault, note, ok, warning
from appliance.cli.output.formatting import counted
from appliance.config.fields.values import GenerationName
from appliance.config.schema import Canister
from appliance.crypto import CandidInterface, CandidTypes, read_poll_reply_unverified
from appliance.errors import CandidError, CanisterRefused, GatewayError, IcError, IcUnreachable, Malformed, Rejected
from appliance.ic.agent import Agent
from appliance.ic.principal import ANONYMOUS, Principal

POLL = CandidTypes("(record {nonce: nat64})")
DESTINATION_INVALID = 3
_METADATA = b"candid:service"
_METHODS = ("ws_open", "ws_message", "ws_close", "ws_get_messages")
_OPENINGS: Mapping[GenerationName, dict[str, object]] = {
    "v2": {"client_nonce": 0, "gateway_principal": ANONYMOUS},
    "v1": {"client_nonce": 0},
    "v0": {"msg": b"", "sig": b""},
}
"""What the argument of ws_open is in each generation."""
_ERAS = {"v0": "the CDK of July 2023", "v1": "CDK 0.1 and 0.2", "v2": "CDK 0.3 and later"}
_WIRE: Mapping[GenerationName, Literal[0, 1, 2]] = {"v0": 0, "v1": 1, "v2": 2}
_NOT_CERTIFIED = "the network is as the findings above say"


@dataclass(frozen=True)
class Polled:
    """What a canister answered to a poll of the gateway, unverified."""

    generation: GenerationName
    """As far as can be told: without an interface v1 and v2 look alike."""
    reply: bytes
    messages: int

    @property
    def wire(self) -> Literal[0, 1, 2]:
        """The generation as a number."""
        return _WIRE[self.generation]


class Examination:
    """Of one canister. ``settings`` are those of the configuration, None where it is not listed; the agent asks in the
    gateway's name, unless ``is_stranger``. ``polled`` is there once the findings are, if there was an answer.
    """

    def __init__(
        self,
        canister_id: Principal,
        settings: Canister | None,
        agent: Agent,
        *,
        is_stranger: bool,
        is_open_to_all: bool = False,
    ) -> None:
        self.canister_id = canister_id
        self.polled: Polled | None = None
        self._settings = settings
        self._agent = agent
        self._is_stranger = is_stranger
        self._is_open_to_all = is_open_to_all
        self._spoken: GenerationName | None = None

    async def findings(self) -> AsyncIterator[Finding]:
        """Everything that can be told by reading."""
        yield self._listed()
        installed = await self._installed()
        yield installed
        if installed.level == "fault":
            return
        interface, finding = await self._interface()
        if finding is not None:
            yield finding
        if interface is not None:
            self._spoken = generation_of(interface)
            for finding in self._methods(interface, self._spoken):
                yield finding
        for finding in await self._poll():
            yield finding

    async def poll_again(self) -> None:
        """See what has come since."""
        await self._poll()

    @property
    def _configured(self) -> list[GenerationName]:
        return list(self._settings.generation) if self._settings else []

    def _listed(self) -> Finding:
        if self._settings is None:
            if self._is_open_to_all:
                return note("listed", "not in the configuration, but unlisted canisters are let in")
            text = "not in the configuration: clients that name it are refused"
            return warning("listed", text, f"icws canisters add {self.canister_id}, or a line under canisters:")
        if self._settings.paused:
            name = self._settings.name or self.canister_id
            return warning("listed", "paused: no client is let in", f"icws canisters resume {name}")
        return ok("listed", f"serves clients of {' and '.join(self._configured)}")

    async def _installed(self) -> Finding:
        path = [b"canister", self.canister_id, b"module_hash"]
        try:
            tree = await self._agent.read_state([path], self.canister_id)
            module = tree.lookup(path)
        except IcError as error:
            return fault("installed", str(error), "is the id right, and is it on this network?")
        except GatewayError as error:
            return fault("installed", f"the network's word for it does not verify: {error}", _NOT_CERTIFIED)
        if module is None:
            return fault("installed", "there is no such canister here, or no code is installed", "is the id right?")
        return ok("installed", f"certified module hash {module.hex()[:16]}…")

    async def _interface(self) -> tuple[CandidInterface | None, Finding | None]:
        """From its metadata, if that can be read."""
        path = [b"canister", self.canister_id, b"metadata", _METADATA]
        try:
            text = (await self._agent.read_state([path], self.canister_id)).lookup(path)
        except GatewayError as error:
            return None, note("interface", f"its metadata cannot be read ({error}); its answers tell the rest")
        if text is None:
            return None, note("interface", "it does not publish candid:service; its answers tell the rest")
        try:
            return CandidInterface(text.decode("utf-8", "replace")), None
        except GatewayError as error:
            return None, note("interface", f"its candid:service cannot be understood: {error}")

    def _methods(self, interface: CandidInterface, spoken: GenerationName | None) -> Iterator[Finding]:
        missing = [name for name in _METHODS if name not in interface.methods]
        if missing:
            advice = "use the IC WebSocket CDK, whose methods the canister must export, or ask for the right canister"
            yield fault("methods", f"it has no {', '.join(missing)}: it is no WebSocket canister", advice)
            return
        if not interface.methods["ws_get_messages"].is_query:
            advice = "declare it as a query; an update cannot certify what it answers"
            yield fault("methods", "ws_get_messages is no query method", advice)
        if spoken is None:
            yield warning(
                "methods", "the arguments of ws_open are of no generation that is known", "is the CDK a known one?"
            )
        elif self._configured and spoken not in self._configured:
            yield self._misfit(spoken)
        else:
            yield ok("methods", f"all there, of generation {spoken} ({_ERAS[spoken]})")

    def _misfit(self, spoken: GenerationName) -> Finding:
        text = f"it speaks {spoken} ({_ERAS[spoken]}), the configuration says {' and '.join(self._configured)}"
        return fault("generation", text, f"generation: {spoken} for this canister in the configuration")

    async def _poll(self) -> list[Finding]:
        """As the gateway does, from the first message on. It changes nothing: it is a query."""
        try:
            reply = await self._agent.query(self.canister_id, "ws_get_messages", POLL.encode({"nonce": 0}))
        except Rejected as error:
            advice = "the canister's code, or its cycles: its controllers can see why"
            if error.reject_code == DESTINATION_INVALID or "no query method" in error.message:
                advice = "is it a WebSocket canister?"
            return [fault("polling", str(error), advice)]
        except GatewayError as error:
            again = isinstance(error, IcUnreachable)
            return [fault("polling", str(error), "try again" if again else "look at the endpoint's findings")]
        order = dict.fromkeys(filter(None, [self._spoken, *self._configured, "v2", *get_args(GenerationName)]))
        for generation in order:
            try:
                messages = len(read_poll_reply_unverified(reply, generation=_WIRE[generation]).messages)
            except CanisterRefused as error:
                return self._refused(error)
            except (CandidError, Malformed):
                continue
            self.polled = Polled(generation, reply, messages)
            return self._answered(self.polled)
        advice = "is it a WebSocket canister, with an unchanged CDK?"
        return [fault("polling", "ws_get_messages answers in no format that is known", advice)]

    def _answered(self, polled: Polled) -> list[Finding]:
        waiting = counted(polled.messages, "message")
        findings = [ok("polling", f"ws_get_messages answers with {waiting}")]
        if self._spoken is None and self._configured and polled.messages and polled.generation not in self._configured:
            findings.append(self._misfit(polled.generation))
        if self._is_stranger:
            findings.append(note("gateway known", "the gateway has no key yet, so that the canister cannot know it"))
        elif polled.messages:
            findings.append(ok("gateway known", f"it has messages for {self._agent.principal}"))
        elif polled.generation == "v2":
            findings.append(ok("gateway known", "a canister of v2 deals with any gateway that a client names"))
        else:
            findings.append(ok("gateway known", f"it answers {self._agent.principal}, whom it was installed with"))
        return findings

    def _refused(self, error: CanisterRefused) -> list[Finding]:
        if self._is_stranger:
            text = f"it refuses whom it does not know, and the gateway has no key yet: {error.text}"
            return [note("gateway known", text, "start the gateway once, or `icws identity new`; then ask again")]
        text = f"it does not take {self._agent.principal} for its gateway: {error.text}"
        advice = (
            "canisters of v0 and v1 know one gateway: install it with this principal, or let this gateway have the key "
            "of the one it knows (icws identity import)"
        )
        return [fault("gateway known", text, advice)]


def generation_of(interface: CandidInterface) -> GenerationName | None:
    """What the arguments of ws_open belong to."""
    opening = interface.methods.get("ws_open")
    if opening is None:
        return None
    return next((name for name, argument in _OPENINGS.items() if _fits(opening.arguments, argument)), None)


def _fits(types: CandidTypes, argument: dict[str, object]) -> bool:
    try:
        types.encode(argument)
    except CandidError:
        return False
    return True
