"""The labels of metrics, with the values that each can have: a bound on how many series there are."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import get_args

from appliance.config.schema import Metrics as Settings
from appliance.control.reload.outcome import Result
from appliance.errors import error_classes
from appliance.gateway.limits import holdings
from appliance.gateway.limits.cluster_rates import Counted
from appliance.gateway.limits.gcra import Decision, Mode
from appliance.gateway.limits.rate_limits import Scope
from appliance.gateway.sockets.refusals import REASONS
from appliance.protocol import generations
from appliance.protocol.session import State

OTHER = "_other"
"""The label value for everything that has no value of its own."""
PLUGINS = 50
"""Plugins that have a label value of their own."""
MOST_CANISTERS = next(each.le for each in Settings.model_fields["canisters"].metadata if hasattr(each, "le"))
"""Upper bound of ``metrics.canisters``: canisters that have a label value of their own."""
CLIENT_CODES = frozenset(range(1000, 1016)) | {4000, 4001}
"""The registered close codes, and those of the reference clients."""
STATUSES = ("400", "403", "404", "405", "408", "426", "429", "431", "500", "503", "505")
TRIGGERS = ("signal", "watch", "api", "confirm", "rollback", "trial")


@dataclass(frozen=True)
class Label:
    """A label. Its value is one of ``values``, or any text if that is None; there are at most ``bound`` of them."""

    name: str
    meaning: str
    values: frozenset[str] | None
    bound: int

    @property
    def known(self) -> list[str]:
        """The values that are known in advance, in order."""
        return sorted(self.values or ())

    @property
    def has_other(self) -> bool:
        """Whether `OTHER` is a value of this label."""
        return self.bound > len(self.values or ())

    def of(self, value: object) -> str:
        """The label value: the text of ``value`` if the label has it, else `OTHER`."""
        text = str(value)
        return text if self.values is None or text in self.values else OTHER


def closed(name: str, meaning: str, values: Iterable[object], *, other: bool = True) -> Label:
    """A label with these values, and `OTHER` unless they are all that there can be."""
    known = frozenset(map(str, values))
    return Label(name, meaning, known, len(known) + other)


REASON = closed("reason", "the reason of the error, see close-codes.md", {error.reason for error in error_classes()})
CODE = closed("code", "the close code", CLIENT_CODES | {error.close_code for error in error_classes()})
REFUSAL = closed("reason", "why a connection was refused", REASONS)
STATUS = closed("status", "the HTTP status", STATUSES)
GENERATION = closed("generation", "the wire generation", generations.SESSIONS, other=False)
STATE = closed("state", "the state of the session", (state.value for state in State), other=False)
SCOPE = closed("scope", "the rate limit", get_args(Scope), other=False)
HOLDER = closed("holder", "who holds too much", holdings.HELD_BY, other=False)
DECISION = closed("decision", "the decision", get_args(Decision), other=False)
MODE = closed("mode", "the mode of the limit at that time", set(get_args(Mode)) - {"off"}, other=False)
SHED_BY = closed("action", "what was done", ("unread", "closed"), other=False)
HOP = closed(
    "hop",
    "the section of a message's way, see below",
    ("client_to_gateway", "gateway_to_ic", "canister_to_polled", "polled_to_written"),
    other=False,
)
SUBJECT = closed("subject", "what was verified", ("reply", "frame"), other=False)
CACHE = closed("result", "`hit`: found in the cache; `miss`: verified", ("hit", "miss"), other=False)
TRIGGER = closed("trigger", "the cause of the reload", TRIGGERS)
RESULT = closed("result", "the result of the reload", set(get_args(Result)) - {"started"}, other=False)
CANISTER = Label(
    "canister",
    f"the canister, for the `metrics.canisters` canisters with the most clients; `{OTHER}` for the rest",
    None,
    MOST_CANISTERS + 1,
)
NAME = Label("name", "the name of the canister in the configuration, empty without one", None, 1)
PLUGIN = Label("plugin", f"the plugin, for the first {PLUGINS}; `{OTHER}` for the rest", None, PLUGINS + 1)
CLAIM = closed(
    "result",
    "`granted`; `doubted`: granted, but it may have been used while the engine knew nothing of it; `used` elsewhere "
    "or `leaving`: refused; `unknown`: relayed without an answer in time, after which `late …` is the answer that came",
    (
        *("granted", "doubted", "used", "leaving", "unknown"),
        *("late granted", "late doubted", "late used", "late leaving", "late given"),
    ),
    other=False,
)
RING = closed(
    "result",
    "`sent` to the engine, `heard` from another node, `lost` because the engine is away; or not believed: `malformed`, "
    "`forged` by somebody without the identity, `replayed`: it came before",
    ("sent", "heard", "lost", "malformed", "forged", "replayed"),
    other=False,
)
PAUSE = closed(
    "result",
    "`told` to the other nodes, `heard` from one behind the same address (`cluster.outgoing`) and followed, or of one "
    "behind another: `elsewhere`",
    ("told", "heard", "elsewhere"),
    other=False,
)
ASKED = closed(
    "result", "`answered`, `refused` by the other node, or `silent`", ("answered", "refused", "silent"), other=False
)
REQUEST_REFUSAL = closed(
    "reason",
    "`malformed`; `forged` by somebody without the identity; `misdirected`: for another node or process; `old`: its "
    "time is further from this clock than `cluster.request_age`; `replayed`: it came before; `unknown` to this "
    "release; `busy`: `cluster.requests` are under way; `unasked`: an answer that nobody waits for, or no more",
    ("malformed", "forged", "misdirected", "old", "replayed", "unknown", "busy", "unasked"),
    other=False,
)
SPOKEN = closed(
    "result",
    "`told`; `taken`: not told, because a living session has the client, or it was told already; `failed`: the call "
    "failed and is made again; `forged`: the engine had what no node wrote; `other_identity`: this gateway does not "
    "sign for the principal of that session",
    ("told", "taken", "failed", "forged", "other_identity"),
    other=False,
)
QUESTION = closed(
    "result",
    "`answered`, or `refused`: not asked by a node of this cluster, or too many",
    ("answered", "refused"),
    other=False,
)
POLLED = closed(
    "role",
    "`asking` for all nodes that poll the canister, `following` one that does, `alone`: for itself; `ended`: for "
    "itself, because what should have come from another node did not",
    ("asking", "following", "alone", "ended"),
    other=False,
)
ENTRY = closed(
    "result",
    "`written` for others, `lost`: not written in time, `unshared`: too large, or not whole; of those of another node "
    "`taken`, `gap`: behind something that was not seen here, `trimmed`: deleted before it was read, `dropped`: too "
    "many waited, `stale`: too old, `unread`: what it takes to verify it could not be read, `new epoch`: another node "
    "asks; `forged`, `replayed`, `unknown` (another schema), `unverified` and `ended`: the polls of a canister are not "
    "shared any more",
    (
        *("written", "lost", "unshared", "taken", "gap", "trimmed", "dropped", "stale", "unread", "new epoch"),
        *("forged", "replayed", "unknown", "unverified", "ended"),
    ),
    other=False,
)
COUNTED = closed(
    "by",
    "`cluster`: the other nodes know of them; `node`: by this one alone, since the engine is away or slow; `dropped`: "
    "the same, because `cluster.limit_keys` wait",
    get_args(Counted),
    other=False,
)
TOLD = closed(
    "result",
    "`answered`; `late`: after `cluster.limit_timeout`; `failed`",
    ("answered", "late", "failed"),
    other=False,
)
VERSION = Label("version", "the version of the gateway", None, 1)
PRINCIPAL = Label("principal", "the principal of the gateway", None, 1)
