"""The catalogue of metrics: the one place that names each of them, with its unit, its labels and their bounds.

Counters end in ``_total``, what has a unit ends in it, and units are seconds and bytes. The documentation, the
dashboard and the alerts are made from this file, and nothing is exported that it does not have.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from math import prod
from typing import Literal, NamedTuple, get_args

from appliance.config.schema import Metrics as Settings
from appliance.control.reload.outcome import Result
from appliance.errors import error_classes
from appliance.gateway.limits.gcra import Decision, Mode
from appliance.gateway.limits.rate_limits import Scope
from appliance.protocol import generations
from appliance.protocol.session import State

Type = Literal["counter", "gauge", "histogram"]

OTHER = "_other"
"""The value of a label for everything that has none of its own."""
PLUGINS = 50
"""Plugins that have a value of their own."""
MOST_CANISTERS = next(each.le for each in Settings.model_fields["canisters"].metadata if hasattr(each, "le"))
"""The most canisters that have a value of their own; ``metrics.canisters`` may say fewer."""
CLIENT_CODES = frozenset(range(1000, 1016)) | {4000, 4001}
"""Close codes that are registered, and those that the reference clients send."""
STATUSES = ("400", "403", "404", "405", "408", "426", "429", "431", "500", "503")
TRIGGERS = ("signal", "watch", "api", "confirm", "rollback", "trial")


@dataclass(frozen=True)
class Label:
    """A label, and what it can be: one of ``values``, or any text where that is None, ``bound`` values at most."""

    name: str
    meaning: str
    values: frozenset[str] | None
    bound: int

    @property
    def known(self) -> list[str]:
        """The values that are known beforehand, in order."""
        return sorted(self.values or ())

    @property
    def has_other(self) -> bool:
        """Whether something may be shown as `OTHER`."""
        return self.bound > len(self.values or ())

    def of(self, value: object) -> str:
        """The value to show: the text of this one if the label can be that, else `OTHER`."""
        text = str(value)
        return text if self.values is None or text in self.values else OTHER


@dataclass(frozen=True)
class Metric:
    """What is exported under one name. ``group`` is the heading it stands under for people."""

    name: str
    type: Type
    help: str
    group: str
    labels: tuple[Label, ...] = ()

    @property
    def unit(self) -> str:
        """Of its values: ``seconds``, ``bytes``, or nothing for what is counted."""
        name = self.name.removesuffix("_total")
        return next((unit for unit in ("seconds", "bytes") if name.endswith(f"_{unit}")), "")

    @property
    def bound(self) -> int:
        """How many combinations of label values there can be."""
        return prod(label.bound for label in self.labels)


class _Group(NamedTuple):
    """Metrics that belong together."""

    title: str

    def counter(self, name: str, text: str, *labels: Label) -> Metric:
        return Metric(name, "counter", text, self.title, labels)

    def gauge(self, name: str, text: str, *labels: Label) -> Metric:
        return Metric(name, "gauge", text, self.title, labels)

    def histogram(self, name: str, text: str, *labels: Label) -> Metric:
        return Metric(name, "histogram", text, self.title, labels)


def _closed(name: str, meaning: str, values: Iterable[object], *, other: bool = True) -> Label:
    known = frozenset(map(str, values))
    return Label(name, meaning, known, len(known) + other)


REASON = _closed(
    "reason", "the `reason` of the error, see the close codes", {error.reason for error in error_classes()}
)
CODE = _closed("code", "the close code", CLIENT_CODES | {error.close_code for error in error_classes()})
STATUS = _closed("status", "the HTTP status", STATUSES)
GENERATION = _closed("generation", "the wire generation", generations.SESSIONS, other=False)
STATE = _closed("state", "how far the session is", (state.value for state in State), other=False)
SCOPE = _closed("scope", "the rate limit", get_args(Scope), other=False)
DECISION = _closed("decision", "what was decided", get_args(Decision), other=False)
MODE = _closed("mode", "the mode of the limit then", set(get_args(Mode)) - {"off"}, other=False)
HOP = _closed(
    "hop",
    "the part of a message's way",
    ("client_to_gateway", "gateway_to_ic", "canister_to_polled", "polled_to_written"),
    other=False,
)
SUBJECT = _closed("subject", "what was verified", ("reply", "frame"), other=False)
CACHE = _closed("result", "whether a verification was spared", ("hit", "miss"), other=False)
TRIGGER = _closed("trigger", "what began the reload", TRIGGERS)
RESULT = _closed("result", "what came of it", set(get_args(Result)) - {"started"}, other=False)
CANISTER = Label(
    "canister",
    f"the canister, for the `metrics.canisters` first of those with the most clients, `{OTHER}` for the rest",
    None,
    MOST_CANISTERS + 1,
)
PLUGIN = Label("plugin", f"the plugin, for the first {PLUGINS}, `{OTHER}` for the rest", None, PLUGINS + 1)
VERSION = Label("version", "of the gateway", None, 1)
PRINCIPAL = Label("principal", "of the gateway", None, 1)

_CONNECTIONS = _Group("Connections")
_UP = _Group("Messages to canisters")
_DOWN = _Group("Messages to clients")
_LATENCY = _Group("Latency")
_LIMITS = _Group("Rate limits")
_CANISTERS = _Group("Canisters")
_CONFIG = _Group("Configuration")
_PLUGINS = _Group("Plugins")
_PROCESS = _Group("Process")

CONNECTIONS = _CONNECTIONS.gauge("icws_connections", "Sockets that are there.")
CONNECTIONS_LIMIT = _CONNECTIONS.gauge("icws_connections_limit", "`gateway.max_connections`.")
ACCEPTED = _CONNECTIONS.counter("icws_connections_accepted_total", "Sockets that were accepted.")
REJECTED = _CONNECTIONS.counter("icws_rejected_requests_total", "HTTP requests that opened no WebSocket.", STATUS)
SESSIONS = _CONNECTIONS.gauge("icws_sessions", "WebSockets that are there.", GENERATION, STATE)
JOINED = _CONNECTIONS.counter("icws_sessions_joined_total", "Clients whose opening message was verified.")
OPENED = _CONNECTIONS.counter("icws_sessions_opened_total", "Sessions that the canister answered.")
CLOSED = _CONNECTIONS.counter("icws_closes_total", "WebSockets that ended; 1006 without a close frame.", CODE)
ERRORS = _CONNECTIONS.counter("icws_errors_total", "WebSockets that the gateway closed for an error.", REASON)
DEPARTING = _CONNECTIONS.gauge("icws_departing", "Clients that are gone and whose canister is not told yet.")
FAREWELLS = _CONNECTIONS.counter("icws_farewells_total", "Clients whose leaving a canister was told.")
FAILED_FAREWELLS = _CONNECTIONS.counter(
    "icws_farewell_failures_total", "Clients whose leaving a canister could not be told.", REASON
)
DRAINING = _CONNECTIONS.gauge("icws_draining", "1 while no client is let in, because of a drain or a stop.")
DRAIN_LEFT = _CONNECTIONS.gauge("icws_drain_left", "Sessions that the drain has not closed yet.")

FRAMES = _UP.counter("icws_client_messages_total", "Messages that came from clients.")
RELAYED = _UP.counter("icws_relays_total", "Calls of clients that the IC answered or accepted.")
FAILED_RELAYS = _UP.counter("icws_relay_failures_total", "Calls of clients that came to nothing.", REASON)
WAITING_CALLS = _UP.gauge("icws_relays_waiting", "Calls that wait for the one before them.")
DOUBTED = _UP.counter("icws_doubts_total", "What verification would have refused, were it enforced; both ways.", REASON)

DELIVERED = _DOWN.counter("icws_canister_messages_total", "Messages of canisters that went to their client.")
UNDELIVERABLE = _DOWN.counter(
    "icws_undeliverable_messages_total", "Messages of canisters for clients that are not here."
)
REPEATED = _DOWN.counter("icws_repeated_messages_total", "Messages that a poll brought again.")
GAPS = _DOWN.counter("icws_nonce_gaps_total", "Times that nonces were not consecutive: messages are lost.")
LOST = _DOWN.counter("icws_lost_messages_total", "Messages that were missing from the queues of canisters.")
POLLS_WAITING = _DOWN.gauge("icws_polls_waiting", "Canisters whose poll waits for its share of the budget of polls.")
RESETS = _DOWN.counter("icws_queue_resets_total", "Times that a canister restarted its queue.")
PROBES = _DOWN.counter("icws_queue_probes_total", "Polls to see whether a canister restarted its queue.")
POLLS = _DOWN.counter("icws_polls_total", "Polls of canisters.")
FAILED_POLLS = _DOWN.counter("icws_poll_failures_total", "Polls that failed.", REASON)
POLLS_PER_MESSAGE = _DOWN.gauge(
    "icws_polls_per_message", "Polls for each message that went to its client, since the start."
)
OUTBOX_BYTES = _DOWN.gauge("icws_outbox_bytes", "What waits for clients to read it.")

HOPS = _LATENCY.histogram(
    "icws_hop_seconds",
    "How long a part of a message's way takes. The two that begin outside compare the clock of a client (sampled) or "
    "of a canister with this one's.",
    HOP,
)
VERIFICATION = _LATENCY.histogram(
    "icws_verification_seconds",
    "Opening a reply to a poll: certificate, tree and messages; or a frame of a client: signature and delegations "
    "(sampled).",
    SUBJECT,
)
SIGNATURES = _LATENCY.counter("icws_signature_checks_total", "Signatures of certificates that were asked about.", CACHE)
LOOP_LAG = _LATENCY.gauge("icws_event_loop_lag_seconds", "How late the event loop was at the last look.")

DECISIONS = _LIMITS.counter(
    "icws_rate_limit_decisions_total",
    "What rate limits decided; in mode `shadow`, `limited` was let through.",
    SCOPE,
    DECISION,
    MODE,
)
LIMITED_NOW = _LIMITS.gauge("icws_rate_limited", "Addresses or clients that have to wait at the moment.", SCOPE)
LIMIT_KEYS = _LIMITS.gauge("icws_rate_limit_keys", "Addresses or clients that a limit remembers.", SCOPE)
FORGOTTEN = _LIMITS.counter(
    "icws_rate_limit_forgotten_total", "Those it forgot too early, because they were too many.", SCOPE
)

CLIENTS = _CANISTERS.gauge("icws_canister_clients", "Clients of a canister.", CANISTER)
DEGRADED = _CANISTERS.gauge(
    "icws_canister_degraded", f"1 while the polls of a canister fail; for `{OTHER}`, how many.", CANISTER
)
PAUSED = _CANISTERS.gauge("icws_canister_paused", f"1 while a canister is paused; for `{OTHER}`, how many.", CANISTER)
LAG = _CANISTERS.gauge(
    "icws_canister_poll_lag_seconds",
    f"Since the last poll of a canister that went well; for `{OTHER}`, the longest.",
    CANISTER,
)
CANISTER_POLLS = _CANISTERS.counter("icws_canister_polls_total", "Polls of a canister.", CANISTER)
CANISTER_DELIVERED = _CANISTERS.counter(
    "icws_canister_delivered_total", "Messages of a canister that went to their client.", CANISTER
)

INFO = _CONFIG.gauge("icws_info", "Always 1.", VERSION, PRINCIPAL)
CONFIG_GENERATION = _CONFIG.gauge("icws_config_generation", "The generation of the configuration that runs.")
RELOAD_SUCCESSFUL = _CONFIG.gauge(
    "icws_config_last_reload_successful", "1 if the last attempt to change the configuration went well."
)
RELOAD_AT = _CONFIG.gauge("icws_config_last_reload_timestamp_seconds", "When the last attempt was, since 1970.")
RELOADS = _CONFIG.counter("icws_config_reloads_total", "Attempts to change it.", TRIGGER, RESULT)
REJECTED_KEYS = _CONFIG.gauge(
    "icws_config_rejected_keys", "Faults that were found in the configuration at the last attempt."
)
CONFIRM_BY = _CONFIG.gauge(
    "icws_config_confirm_by_timestamp_seconds",
    "When the configuration is rolled back unless it is confirmed, since 1970; absent where it is not on trial.",
)
TLS_EXPIRY = _CONFIG.gauge(
    "icws_tls_expiry_timestamp_seconds", "When the certificate of `gateway.tls` ends, since 1970."
)

PLUGIN_OFF = _PLUGINS.gauge("icws_plugin_off", "1 while a plugin is left alone for failing.", PLUGIN)
PLUGIN_CALLS = _PLUGINS.counter("icws_plugin_calls_total", "Calls of a plugin.", PLUGIN)
PLUGIN_FAILURES = _PLUGINS.counter("icws_plugin_failures_total", "Calls that failed.", PLUGIN)
PLUGIN_SLOW = _PLUGINS.counter("icws_plugin_slow_total", "Calls that took longer than they may.", PLUGIN)

CPU = _PROCESS.counter("process_cpu_seconds_total", "User and system time.")
STARTED_AT = _PROCESS.gauge("process_start_time_seconds", "When the gateway started, since 1970.")
RESIDENT = _PROCESS.gauge("process_resident_memory_bytes", "Memory in use.")
OPEN_FDS = _PROCESS.gauge("process_open_fds", "Files and sockets that are open.")
MAX_FDS = _PROCESS.gauge("process_max_fds", "How many may be.")

CATALOGUE: tuple[Metric, ...] = tuple(value for value in list(globals().values()) if isinstance(value, Metric))
"""All of them, in the order of this file."""
