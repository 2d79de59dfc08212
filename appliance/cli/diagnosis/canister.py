"""Checks of a canister: whether it is installed, its wire generation, and whether it accepts this gateway."""

from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from appliance.cli.diagnosis.findings import Finding, fault, note, ok, warning
from appliance.cli.output.formatting import counted
from appliance.config.fields.values import GenerationName
from appliance.config.schema import Canister
from appliance.crypto import CandidInterface, CandidTypes, read_poll_reply_unverified
from appliance.errors import (
    CandidError,
    CanisterRefused,
    GatewayError,
    IcError,
    IcUnreachable,
    Malformed,
    Rejected,
    ReplyError,
)
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
"""An argument of ws_open in each generation."""
_CDK_VERSIONS = {"v0": "the CDK of July 2023", "v1": "CDK 0.1 and 0.2", "v2": "CDK 0.3 and later"}
_WIRE: Mapping[GenerationName, Literal[0, 1, 2]] = {"v0": 0, "v1": 1, "v2": 2}
_SEE_NETWORK = "see the findings about the network above"


@dataclass(frozen=True)
class Polled:
    """The unverified reply of a canister to a poll of the gateway."""

    generation: GenerationName
    """A guess without an interface: polls of v1 and v2 look alike."""
    reply: bytes
    messages: int

    @property
    def wire(self) -> Literal[0, 1, 2]:
        """The generation as a number."""
        return _WIRE[self.generation]


class Examination:
    """Checks one canister.

    ``settings`` are those of the configuration, None if it is not listed. The agent calls with the gateway's identity,
    or anonymously with ``is_anonymous``. ``polled`` is set after ``findings`` if the canister replied to a poll.
    """

    def __init__(
        self,
        canister_id: Principal,
        settings: Canister | None,
        agent: Agent,
        *,
        is_anonymous: bool,
        allows_unlisted: bool = False,
    ) -> None:
        self.canister_id = canister_id
        self.polled: Polled | None = None
        self._settings = settings
        self._agent = agent
        self._is_anonymous = is_anonymous
        self._allows_unlisted = allows_unlisted
        self._detected: GenerationName | None = None

    async def findings(self) -> AsyncIterator[Finding]:
        """Run all checks that only read."""
        yield self._listed()
        installed = await self._installed()
        yield installed
        if installed.level == "fault":
            return
        interface, finding = await self._interface()
        if finding is not None:
            yield finding
        if interface is not None:
            self._detected = generation_of(interface)
            for finding in self._methods(interface, self._detected):
                yield finding
        for finding in await self._poll():
            yield finding

    async def refresh(self) -> None:
        """Poll once more, for messages that arrived since."""
        await self._poll()

    @property
    def _configured(self) -> list[GenerationName]:
        return list(self._settings.generation) if self._settings else []

    def _listed(self) -> Finding:
        if self._settings is None:
            if self._allows_unlisted:
                return note("listed", "not in the configuration, but unlisted canisters are accepted")
            text = "not in the configuration: clients that name it are refused"
            return warning("listed", text, f"icws canisters add {self.canister_id}, or a line under canisters:")
        if self._settings.paused:
            name = self._settings.name or self.canister_id
            return warning("listed", "paused: new clients are refused", f"icws canisters resume {name}")
        return ok("listed", f"serves clients of {' and '.join(self._configured)}")

    async def _installed(self) -> Finding:
        path = [b"canister", self.canister_id, b"module_hash"]
        try:
            tree = await self._agent.read_state([path], self.canister_id)
            module = tree.lookup(path)
        except (ReplyError, Malformed) as error:
            return fault("installed", f"the certificate of its state is not valid: {error}", _SEE_NETWORK)
        except IcError as error:
            return fault("installed", str(error), "is the id right, and is it on this network?")
        if module is None:
            return fault(
                "installed", "there is no such canister on this network, or it has no code", "is the id right?"
            )
        return ok("installed", f"certified module hash {module.hex()[:16]}…")

    async def _interface(self) -> tuple[CandidInterface | None, Finding | None]:
        """Read the Candid interface from the canister's metadata, if it is public."""
        path = [b"canister", self.canister_id, b"metadata", _METADATA]
        try:
            text = (await self._agent.read_state([path], self.canister_id)).lookup(path)
        except GatewayError as error:
            return None, note("interface", f"the metadata cannot be read ({error}); the replies are examined instead")
        if text is None:
            return None, note("interface", "candid:service is not public; the replies are examined instead")
        try:
            return CandidInterface(text.decode("utf-8", "replace")), None
        except GatewayError as error:
            return None, note("interface", f"candid:service is not valid Candid: {error}")

    def _methods(self, interface: CandidInterface, detected: GenerationName | None) -> Iterator[Finding]:
        missing = [name for name in _METHODS if name not in interface.methods]
        if missing:
            advice = "export the methods of the IC WebSocket CDK, or check the canister id"
            yield fault("methods", f"no {', '.join(missing)}: this is not a WebSocket canister", advice)
            return
        if not interface.methods["ws_get_messages"].is_query:
            advice = "declare it as a query; an update call cannot certify its reply"
            yield fault("methods", "ws_get_messages is not a query method", advice)
        if detected is None:
            yield warning("methods", "the arguments of ws_open fit no known wire generation", "is the CDK a known one?")
        elif self._configured and detected not in self._configured:
            yield self._generation_mismatch(detected)
        else:
            yield ok("methods", f"all present, of wire generation {detected} ({_CDK_VERSIONS[detected]})")

    def _generation_mismatch(self, detected: GenerationName) -> Finding:
        configured = " and ".join(self._configured)
        text = f"the canister uses {detected} ({_CDK_VERSIONS[detected]}), the configuration has {configured}"
        return fault("generation", text, f"generation: {detected} for this canister in the configuration")

    async def _poll(self) -> list[Finding]:
        """Poll from the first message on, as the gateway does. A query changes nothing in the canister."""
        try:
            reply = await self._agent.query(self.canister_id, "ws_get_messages", POLL.encode({"nonce": 0}))
        except Rejected as error:
            advice = "the canister's code, or its cycles: its controllers can see why"
            if error.reject_code == DESTINATION_INVALID or "no query method" in error.message:
                advice = "is it a WebSocket canister?"
            return [fault("polling", str(error), advice)]
        except GatewayError as error:
            is_unreachable = isinstance(error, IcUnreachable)
            return [
                fault("polling", str(error), "try again" if is_unreachable else "see the findings about the endpoint")
            ]
        # The configured generations come first: without an interface, replies of v1 and v2 decode alike.
        order = dict.fromkeys(filter(None, [self._detected, *self._configured, "v2", *get_args(GenerationName)]))
        for generation in order:
            try:
                messages = len(read_poll_reply_unverified(reply, generation=_WIRE[generation]).messages)
            except CanisterRefused as error:
                return self._refused(error)
            except (CandidError, Malformed):
                continue
            self.polled = Polled(generation, reply, messages)
            return self._answered(self.polled)
        advice = "is it a WebSocket canister with an unmodified CDK?"
        return [fault("polling", "the reply of ws_get_messages has no known format", advice)]

    def _answered(self, polled: Polled) -> list[Finding]:
        waiting = counted(polled.messages, "message")
        findings = [ok("polling", f"ws_get_messages returns {waiting}")]
        if (
            self._detected is None
            and self._configured
            and polled.messages
            and polled.generation not in self._configured
        ):
            findings.append(self._generation_mismatch(polled.generation))
        if self._is_anonymous:
            findings.append(note("gateway known", "the gateway has no key yet, so the canister cannot know it"))
        elif polled.messages:
            findings.append(ok("gateway known", f"it has messages for {self._agent.principal}"))
        elif polled.generation == "v2":
            findings.append(ok("gateway known", "a v2 canister accepts any gateway that a client names"))
        else:
            findings.append(
                ok("gateway known", f"it replies to {self._agent.principal}, so it was installed with that gateway")
            )
        return findings

    def _refused(self, error: CanisterRefused) -> list[Finding]:
        if self._is_anonymous:
            text = f"it refuses unknown gateways, and this one has no key yet: {error.text}"
            return [note("gateway known", text, "start the gateway once, or run `icws identity new`; then repeat this")]
        text = f"it does not accept {self._agent.principal} as its gateway: {error.text}"
        advice = (
            "v0 and v1 canisters accept one gateway: install it with this principal, or give this gateway the key of "
            "the one it accepts (icws identity import)"
        )
        return [fault("gateway known", text, advice)]


def generation_of(interface: CandidInterface) -> GenerationName | None:
    """Return the wire generation that the arguments of ws_open fit; None if there is none."""
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
