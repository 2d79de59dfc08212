"""The catalogue of metrics: name, type, help text and labels of each.

Counters end in ``_total``; a name with a unit ends in that unit, which is seconds or bytes. The documentation, the
dashboard and the alerts are generated from this file, and no other metric is exported.
"""

from dataclasses import dataclass
from math import prod
from typing import Literal, NamedTuple

from appliance.control.observe.labels import (
    ASKED,
    CACHE,
    CANISTER,
    CLAIM,
    CODE,
    COUNTED,
    DECISION,
    ENTRY,
    GENERATION,
    HOLDER,
    HOP,
    MODE,
    NAME,
    OTHER,
    PAUSE,
    PLUGIN,
    POLLED,
    PRINCIPAL,
    QUESTION,
    REASON,
    REFUSAL,
    REQUEST_REFUSAL,
    RESULT,
    RING,
    SCOPE,
    SHED_BY,
    SPOKEN,
    STATE,
    STATUS,
    SUBJECT,
    TOLD,
    TRIGGER,
    VERSION,
    Label,
)

Type = Literal["counter", "gauge", "histogram"]


@dataclass(frozen=True)
class Metric:
    """One metric. ``group`` is its heading in the documentation and the dashboard."""

    name: str
    type: Type
    help: str
    group: str
    labels: tuple[Label, ...] = ()

    @property
    def unit(self) -> str:
        """The unit of its values: ``seconds``, ``bytes``, or empty for a number."""
        name = self.name.removesuffix("_total")
        return next((unit for unit in ("seconds", "bytes") if name.endswith(f"_{unit}")), "")

    @property
    def bound(self) -> int:
        """The number of possible combinations of label values."""
        return prod(label.bound for label in self.labels)


class _Group(NamedTuple):
    """A heading, with constructors for the metrics below it."""

    title: str

    def counter(self, name: str, text: str, *labels: Label) -> Metric:
        return Metric(name, "counter", text, self.title, labels)

    def gauge(self, name: str, text: str, *labels: Label) -> Metric:
        return Metric(name, "gauge", text, self.title, labels)

    def histogram(self, name: str, text: str, *labels: Label) -> Metric:
        return Metric(name, "histogram", text, self.title, labels)


_CONNECTIONS = _Group("Connections")
_UP = _Group("Messages to canisters")
_DOWN = _Group("Messages to clients")
_LATENCY = _Group("Latency")
_LIMITS = _Group("Rate limits")
_CANISTERS = _Group("Canisters")
_CLUSTER = _Group("Cluster")
_CONFIG = _Group("Configuration")
_PLUGINS = _Group("Plugins")
_PROCESS = _Group("Process")

CONNECTIONS = _CONNECTIONS.gauge("icws_connections", "Open sockets.")
CONNECTIONS_LIMIT = _CONNECTIONS.gauge(
    "icws_connections_limit",
    "Maximum number of open sockets: `gateway.max_connections`, or what the limit of open files allows.",
)
ACCEPTED = _CONNECTIONS.counter("icws_connections_accepted_total", "Accepted sockets.")
REJECTED = _CONNECTIONS.counter(
    "icws_rejected_requests_total", "HTTP requests that were rejected instead of upgraded to a WebSocket.", STATUS
)
ACCEPT_PAUSES = _CONNECTIONS.counter(
    "icws_accept_pauses_total", "Times that nobody was accepted for a moment, because the process had no file left."
)
ADDRESSES = _CONNECTIONS.gauge("icws_addresses", "Addresses (IPv6: /64) that hold a socket.")
LARGEST_ADDRESS = _CONNECTIONS.gauge("icws_connections_largest_address", "Sockets of the address that holds most.")
HELD_BYTES = _CONNECTIONS.gauge("icws_held_bytes", "Bytes that the gateway keeps for its clients.")
HELD_BYTES_LIMIT = _CONNECTIONS.gauge("icws_held_bytes_limit", "The most bytes for clients (`limits.memory`).")
SHED = _CONNECTIONS.counter(
    "icws_shed_connections_total",
    "Clients that were not read for a while, or closed, because too much was held.",
    SHED_BY,
)
HELD_EXCEEDED = _CONNECTIONS.counter(
    "icws_held_limit_exceeded_total",
    "Connections that an address, a principal or a canister had beyond its `limits.held_per_….connections`. In mode "
    "`shadow` they were granted.",
    HOLDER,
    MODE,
)
HELD_BYTES_EXCEEDED = _CONNECTIONS.counter(
    "icws_held_bytes_limit_exceeded_total",
    "Times that one began to hold more than `limits.held_per_….bytes` allows. In mode `shadow` nobody was closed.",
    HOLDER,
    MODE,
)
REFUSED = _CONNECTIONS.counter(
    "icws_refused_connections_total",
    "Connections that became no WebSocket: rejected, or reset without an answer.",
    REFUSAL,
)
UNLOGGED = _CONNECTIONS.counter(
    "icws_refusals_unlogged_total", "Refused connections above `log.refusals`, which were counted and not logged."
)
SESSIONS = _CONNECTIONS.gauge("icws_sessions", "Open WebSockets.", GENERATION, STATE)
JOINED = _CONNECTIONS.counter("icws_sessions_joined_total", "Clients whose opening message was verified.")
OPENED = _CONNECTIONS.counter("icws_sessions_opened_total", "Sessions that opened: the canister accepted the client.")
CLOSED = _CONNECTIONS.counter("icws_closes_total", "WebSockets that ended. Code 1006: without a close frame.", CODE)
ERRORS = _CONNECTIONS.counter("icws_errors_total", "WebSockets that the gateway closed because of an error.", REASON)
DEPARTING = _CONNECTIONS.gauge("icws_departing", "Disconnected clients whose `ws_close` call is not finished.")
FAREWELLS = _CONNECTIONS.counter("icws_farewells_total", "Finished `ws_close` calls for disconnected clients.")
FAILED_FAREWELLS = _CONNECTIONS.counter(
    "icws_farewell_failures_total", "Failed `ws_close` calls for disconnected clients.", REASON
)
LATE_CLOSE_CALLS = _CONNECTIONS.gauge(
    "icws_late_close_calls", "Clients of an earlier process whose `ws_close` call is not finished."
)
JOURNALED = _CONNECTIONS.gauge(
    "icws_journal", "1 where clients are kept on disk (`gateway.journal`), 0 where they cannot be."
)
JOURNAL_COMMIT = _CONNECTIONS.gauge(
    "icws_journal_commit_seconds", "Duration of the last commit of the journal, for which openings wait."
)
JOURNAL_FAILURES = _CONNECTIONS.counter(
    "icws_journal_failures_total", "Commits of the journal that failed or took longer than 5 s."
)
DRAINING = _CONNECTIONS.gauge("icws_draining", "1 while the gateway accepts no clients because it drains or stops.")
DRAIN_LEFT = _CONNECTIONS.gauge("icws_drain_left", "Sessions that the drain still has to close.")

FRAMES = _UP.counter("icws_client_messages_total", "Messages received from clients.")
DELAYED = _UP.counter(
    "icws_delayed_reads_total",
    "Times that frames of a client waited for a later turn of the event loop, because others have theirs in between.",
)
RELAYED = _UP.counter("icws_relays_total", "Calls of clients that the IC answered or accepted.")
FAILED_RELAYS = _UP.counter("icws_relay_failures_total", "Calls of clients that failed.", REASON)
WAITING_CALLS = _UP.gauge("icws_relays_waiting", "Calls of clients that wait in relay queues.")
UNREAD = _UP.gauge("icws_unread_sockets", "Sockets that are not read, because their client's calls wait.")
CALLS = _UP.gauge("icws_calls_under_way", "Calls to the IC that are under way.")
CALLS_LIMIT = _UP.gauge(
    "icws_calls_limit", "The most calls that may be under way: `relay.calls`, or what the limit of open files allows."
)
CALL_BYTES = _UP.gauge("icws_call_bytes", "Bytes of the calls that are under way.")
CALL_BYTES_LIMIT = _UP.gauge("icws_call_bytes_limit", "The most bytes of calls that may be under way, `relay.bytes`.")
CALLS_WAITING = _UP.gauge("icws_calls_waiting", "Calls that wait for room among those under way.")
COSTLY_MESSAGES = _UP.counter(
    "icws_costly_messages_total", "Messages of clients that were dear to verify, and were verified off the loop."
)
COSTLY_SECONDS = _UP.counter("icws_costly_messages_seconds_total", "Processor time that verifying them took.")
COSTLY_WAITING = _UP.gauge(
    "icws_costly_messages_waiting", "Of these, those that are being verified or wait (`verification.share_per_ip`)."
)
ORDERS_LOST = _UP.counter(
    "icws_orders_lost_total", "Clients closed because the IC changed the order of their messages on the way."
)
DOUBTED = _UP.counter(
    "icws_doubts_total",
    "Messages in either direction that failed verification and were passed on in mode `report`.",
    REASON,
)

DELIVERED = _DOWN.counter("icws_canister_messages_total", "Messages of canisters that were delivered to their client.")
UNDELIVERABLE = _DOWN.counter(
    "icws_undeliverable_messages_total",
    "Messages of canisters for clients that are not connected to this gateway, or do not take them.",
)
REPEATED = _DOWN.counter("icws_repeated_messages_total", "Messages in poll replies that had been delivered before.")
GAPS = _DOWN.counter("icws_nonce_gaps_total", "Gaps in the nonces of a canister: messages were lost.")
LOST = _DOWN.counter("icws_lost_messages_total", "Messages that were missing from the queues of canisters.")
POLLS_WAITING = _DOWN.gauge("icws_polls_waiting", "Canisters whose poll waits for its share of the budget of polls.")
RESETS = _DOWN.counter("icws_queue_resets_total", "Restarts of a canister's message queue.")
PROBES = _DOWN.counter("icws_queue_probes_total", "Polls that check whether a canister restarted its message queue.")
POLLS = _DOWN.counter("icws_polls_total", "Polls of canisters.")
FAILED_POLLS = _DOWN.counter("icws_poll_failures_total", "Failed polls.", REASON)
POLLS_PER_MESSAGE = _DOWN.gauge("icws_polls_per_message", "Polls per delivered message since the gateway started.")
OUTBOX_BYTES = _DOWN.gauge("icws_outbox_bytes", "Bytes buffered for clients that read slowly.")

HOPS = _LATENCY.histogram(
    "icws_hop_seconds",
    "Duration of a section of a message's way. `client_to_gateway` (sampled) and `canister_to_polled` compare the "
    "sender's clock with the gateway's.",
    HOP,
)
VERIFICATION = _LATENCY.histogram(
    "icws_verification_seconds",
    "Duration of verifying a poll reply (certificate, hash tree, messages) or a frame of a client (signature, "
    "delegations; sampled).",
    SUBJECT,
)
SIGNATURES = _LATENCY.counter("icws_signature_checks_total", "Certificate signatures that were needed.", CACHE)
LOOP_LAG = _LATENCY.gauge("icws_event_loop_lag_seconds", "Delay of the event loop at the last measurement.")

DECISIONS = _LIMITS.counter(
    "icws_rate_limit_decisions_total",
    "Decisions of rate limits. In mode `shadow`, `limited` ones were allowed.",
    SCOPE,
    DECISION,
    MODE,
)
LIMITED_NOW = _LIMITS.gauge("icws_rate_limited", "Addresses or clients that currently exceed a rate limit.", SCOPE)
LIMIT_KEYS = _LIMITS.gauge("icws_rate_limit_keys", "Addresses or clients that a rate limit keeps track of.", SCOPE)
FORGOTTEN = _LIMITS.counter(
    "icws_rate_limit_forgotten_total",
    "Addresses or clients dropped from a rate limit early because its table was full.",
    SCOPE,
)

CANISTER_INFO = _CANISTERS.gauge(
    "icws_canister_info", "Always 1; has the name of a canister for joins on `canister`.", CANISTER, NAME
)
CLIENTS = _CANISTERS.gauge("icws_canister_clients", "Connected clients of a canister.", CANISTER)
DEGRADED = _CANISTERS.gauge(
    "icws_canister_degraded",
    f"1 while the polls of a canister fail; for `{OTHER}`, the number of such canisters.",
    CANISTER,
)
PAUSED = _CANISTERS.gauge(
    "icws_canister_paused", f"1 while a canister is paused; for `{OTHER}`, the number of such canisters.", CANISTER
)
LAG = _CANISTERS.gauge(
    "icws_canister_poll_lag_seconds",
    f"Time since the last successful poll of a canister; for `{OTHER}`, the longest.",
    CANISTER,
)
CANISTER_CALLS = _CANISTERS.gauge("icws_canister_calls_under_way", "Calls to a canister that are under way.", CANISTER)
CANISTER_CALLS_WAITING = _CANISTERS.gauge(
    "icws_canister_calls_waiting", "Calls to a canister that wait for room among those under way.", CANISTER
)
CANISTER_POLLS = _CANISTERS.counter("icws_canister_polls_total", "Polls of a canister.", CANISTER)
CANISTER_DELIVERED = _CANISTERS.counter(
    "icws_canister_delivered_total", "Messages of a canister that were delivered to their client.", CANISTER
)

ENGINE = _CLUSTER.gauge(
    "icws_cluster_joined",
    "1 while this node is part of its cluster, 0 while it goes on alone; absent without `cluster`.",
)
NODES = _CLUSTER.gauge("icws_cluster_other_nodes", "Other living nodes of the cluster, when the engine last answered.")
CLAIMS = _CLUSTER.counter("icws_cluster_claims_total", "Opening messages that were claimed at the engine.", CLAIM)
RINGS = _CLUSTER.counter("icws_cluster_rings_total", "Messages that make other nodes poll at once.", RING)
PAUSES = _CLUSTER.counter(
    "icws_cluster_pauses_total", "Endpoints of the IC that asked a node to be left alone (Retry-After).", PAUSE
)
REQUESTS_ASKED = _CLUSTER.counter("icws_cluster_asked_total", "Requests of this node to another.", ASKED)
REQUESTS_ANSWERED = _CLUSTER.counter("icws_cluster_answered_total", "Requests of other nodes that were answered.")
REQUESTS = _CLUSTER.gauge("icws_cluster_requests", "Requests under way between this node and others, both ways.")
REQUESTS_REFUSED = _CLUSTER.counter(
    "icws_cluster_refused_commands_total",
    "Commands and answers that came in the name of other nodes, and were not believed or not done.",
    REQUEST_REFUSAL,
)
COMMANDS = _CLUSTER.gauge("icws_cluster_commands", "Commands to the engine that are under way.")
COMMANDS_LIMIT = _CLUSTER.gauge("icws_cluster_commands_limit", "The most of them, `cluster.commands`.")
COMMANDS_LATE = _CLUSTER.counter("icws_cluster_late_commands_total", "Commands to the engine that took too long.")
COMMANDS_DROPPED = _CLUSTER.counter(
    "icws_cluster_dropped_commands_total", "Commands that were not made, because too many were under way."
)
POLLED_CANISTERS = _CLUSTER.gauge(
    "icws_cluster_polled_canisters", "Canisters that this node polls, by who asks them.", POLLED
)
ENTRIES = _CLUSTER.counter(
    "icws_cluster_entries_total", "Answers of canisters that nodes shared, by what became of them here.", ENTRY
)
LIMIT_EVENTS = _CLUSTER.counter(
    "icws_cluster_limit_events_total", "What was allowed of rate limits with `scope: cluster`.", COUNTED
)
LIMIT_COMMANDS = _CLUSTER.counter(
    "icws_cluster_limit_commands_total", "Commands that told the engine what was allowed of these limits.", TOLD
)
LIMIT_WAITING = _CLUSTER.gauge("icws_cluster_limit_keys", "Addresses, clients and canisters that it has to be told of.")
LIMIT_WAITING_LIMIT = _CLUSTER.gauge("icws_cluster_limit_keys_limit", "The most of them, `cluster.limit_keys`.")

REGISTRY = _CLUSTER.gauge(
    "icws_cluster_registry_bytes", "What the engine keeps of the clients of this node, so that others can speak for it."
)
REGISTRY_LIMIT = _CLUSTER.gauge("icws_cluster_registry_bytes_limit", "The most of it, `cluster.registry`.")
REGISTRY_CLIENTS = _CLUSTER.gauge("icws_cluster_registry_clients", "Clients of this node that the engine keeps.")
REGISTRY_WAITING = _CLUSTER.gauge("icws_cluster_registry_waiting", "Changes of them that the engine has to be told.")
REGISTRY_DROPPED = _CLUSTER.counter(
    "icws_cluster_registry_dropped_total",
    "Clients without room in `cluster.registry`: only the next start of this node can report them if it dies.",
)
GIVEN_UP = _CLUSTER.counter("icws_cluster_given_up_total", "Other nodes that this one has given up.")
SPOKEN_FOR = _CLUSTER.counter("icws_cluster_spoken_for_total", "Clients of nodes that are given up.", SPOKEN)
RETURNED = _CLUSTER.counter(
    "icws_cluster_returned_total", "Times that this node was given up while it was only cut off, and noticed it."
)
QUESTIONS = _CLUSTER.counter("icws_cluster_peer_questions_total", "Questions at `cluster.peer`.", QUESTION)

INFO = _CONFIG.gauge("icws_info", "Always 1; the labels describe the gateway.", VERSION, PRINCIPAL)
CONFIG_GENERATION = _CONFIG.gauge("icws_config_generation", "Revision of the running configuration.")
RELOAD_SUCCESSFUL = _CONFIG.gauge("icws_config_last_reload_successful", "1 if the last reload succeeded.")
RELOAD_AT = _CONFIG.gauge("icws_config_last_reload_timestamp_seconds", "Unix time of the last reload.")
RELOADS = _CONFIG.counter("icws_config_reloads_total", "Reloads of the configuration.", TRIGGER, RESULT)
REJECTED_KEYS = _CONFIG.gauge("icws_config_rejected_keys", "Problems found in the configuration by the last reload.")
CONFIRM_BY = _CONFIG.gauge(
    "icws_config_confirm_by_timestamp_seconds",
    "Unix time at which an unconfirmed configuration is rolled back; absent without a trial.",
)
TLS_EXPIRY = _CONFIG.gauge(
    "icws_tls_expiry_timestamp_seconds", "Unix time at which the certificate that is served (`gateway.tls`) expires."
)

PLUGIN_OFF = _PLUGINS.gauge("icws_plugin_off", "1 while a plugin is switched off because it failed.", PLUGIN)
PLUGIN_CALLS = _PLUGINS.counter("icws_plugin_calls_total", "Calls of a plugin.", PLUGIN)
PLUGIN_FAILURES = _PLUGINS.counter("icws_plugin_failures_total", "Calls of a plugin that failed.", PLUGIN)
PLUGIN_SLOW = _PLUGINS.counter("icws_plugin_slow_total", "Calls of a plugin that exceeded its time limit.", PLUGIN)
PLUGIN_WAITING = _PLUGINS.gauge("icws_plugin_waiting", "Calls that wait for a plugin.", PLUGIN)
PLUGIN_SECONDS = _PLUGINS.counter("icws_plugin_seconds_total", "Time that the calls of a plugin took.", PLUGIN)

CPU = _PROCESS.counter("process_cpu_seconds_total", "CPU time, user and system.")
STARTED_AT = _PROCESS.gauge("process_start_time_seconds", "Unix time at which the gateway started.")
RESIDENT = _PROCESS.gauge("process_resident_memory_bytes", "Resident memory.")
OPEN_FDS = _PROCESS.gauge("process_open_fds", "Open files and sockets.")
MAX_FDS = _PROCESS.gauge("process_max_fds", "Maximum number of open files and sockets.")

CATALOGUE: tuple[Metric, ...] = tuple(value for value in list(globals().values()) if isinstance(value, Metric))
"""All metrics, in the order of this file."""
