"""Records messages on their way through the gateway: timelines, durations, and traces if a sink is set."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from time import perf_counter_ns
from typing import NamedTuple, Protocol

from appliance.crypto import Request
from appliance.errors import GatewayError
from appliance.gateway.recording.by_canister import MeasurementsByCanister
from appliance.gateway.recording.measurements import Latencies
from appliance.gateway.recording.timeline import ACCEPTED_ONLY, PollRecord, Timeline
from appliance.gateway.recording.timelines import Timelines
from appliance.gateway.recording.timestamps import of_call
from appliance.ic.principal import Principal
from appliance.protocol.events import Call, Event, Relay

SAMPLED = 32
"""One in so many messages of a client is measured in full, which costs microseconds."""


class RelayedCall(NamedTuple):
    """A call on its way to the IC, with its size in bytes, and when it was queued and sent (ns since 1970)."""

    call: Request | Call
    size: int
    queued_ns: int
    sent_ns: int


class Dated(Protocol):
    """A message of a canister."""

    @property
    def timestamp_ns(self) -> int:
        """When the canister wrote it."""


class TraceSink(Protocol):
    """Makes traces. No method raises or blocks; what one returns is kept as ``trace`` of its timeline or poll."""

    def began(self, timeline: Timeline) -> object:
        """A WebSocket is established."""

    def ended(self, timeline: Timeline) -> None:
        """It is gone; ``timeline.trace`` is what ``began`` returned."""

    def relayed(self, timeline: Timeline, relayed: RelayedCall, at_ns: int, error: GatewayError | None) -> None:
        """A call was answered by the IC, or came to nothing."""

    def polled(self, canister_id: Principal, number: int, asked_ns: int, came_ns: int, messages: int) -> object:
        """A poll returned messages."""

    def delivered(self, timeline: Timeline, polled: PollRecord, nonce: int, size: int) -> None:
        """A message was passed on; ``polled.trace`` is what ``polled`` returned."""


@dataclass(slots=True)
class Recorder:
    """One for the whole gateway. Everything costs well below a microsecond unless it says otherwise."""

    timelines: Timelines = field(default_factory=Timelines)
    latency: Latencies = field(default_factory=Latencies)
    by_canister: MeasurementsByCanister = field(default_factory=MeasurementsByCanister)
    trace_sink: TraceSink | None = None

    # --- connections ------------------------------------------------------------------------------------------------

    def began(self, timeline: Timeline) -> None:
        """A WebSocket is established."""
        self.timelines.begin(timeline)
        if self.trace_sink is not None:
            timeline.trace = self.trace_sink.began(timeline)

    def ended(self, timeline: Timeline) -> None:
        """A connection is over, whether it became a WebSocket or not."""
        self.timelines.end(timeline)
        if self.trace_sink is not None:
            self.trace_sink.ended(timeline)

    # --- up ---------------------------------------------------------------------------------------------------------

    def measured(self, receive: Callable[[], list[Event]], now_ns: int) -> list[Event]:
        """Receive a client's message, and measure it: a few microseconds."""
        begun = perf_counter_ns()
        events = receive()
        self.latency.frame_verification.observe(perf_counter_ns() - begun)
        for event in events:
            if isinstance(event, Relay) and (written_ns := of_call(event.call)) is not None:
                self.latency.client_to_gateway.observe(now_ns - written_ns)
                # A message, not an opening: its client has joined, so the canister is one that is served.
                self.by_canister.of(event.call.canister_id).client_to_gateway.observe(now_ns - written_ns)
        return events

    def relaying(self, timeline: Timeline, relayed: RelayedCall) -> None:
        """A call goes to the IC."""
        call, size, queued_ns, sent_ns = relayed
        timeline.relay(sent_ns, call.method_name, request_id_of(call), size, sent_ns - queued_ns)

    def answered(self, timeline: Timeline, relayed: RelayedCall, reply: bytes | None, now_ns: int) -> None:
        """The IC answered it."""
        size = ACCEPTED_ONLY if reply is None else len(reply)
        timeline.answered(now_ns, now_ns - relayed.sent_ns, size)
        self.latency.gateway_to_ic.observe(now_ns - relayed.queued_ns)
        measured = self.by_canister.of(relayed.call.canister_id)
        measured.relayed += 1
        measured.gateway_to_ic.observe(now_ns - relayed.queued_ns)
        if self.trace_sink is not None:
            self.trace_sink.relayed(timeline, relayed, now_ns, None)

    def failed(self, timeline: Timeline, relayed: RelayedCall, error: GatewayError, now_ns: int) -> None:
        """The call failed."""
        timeline.relay_failed(now_ns, now_ns - relayed.sent_ns, str(error))
        self.by_canister.of(relayed.call.canister_id).failed_relays += 1
        if self.trace_sink is not None:
            self.trace_sink.relayed(timeline, relayed, now_ns, error)

    # --- down -------------------------------------------------------------------------------------------------------

    def polled(
        self,
        canister_id: Principal,
        number: int,
        messages: Sequence[Dated],
        *,
        asked_ns: int,
        came_ns: int,
        now_ns: int,
    ) -> PollRecord:
        """Record a poll that returned new messages, which are delivered now."""
        if written_ns := messages[0].timestamp_ns:  # 0 where the content does not decode
            self.latency.canister_to_polled.observe(came_ns - written_ns)
            self.by_canister.of(canister_id).canister_to_polled.observe(came_ns - written_ns)
        if self.trace_sink is None:
            return PollRecord(number, now_ns)
        return PollRecord(number, now_ns, self.trace_sink.polled(canister_id, number, asked_ns, came_ns, len(messages)))

    def written(self, canister_id: Principal, messages: int, duration_ns: int) -> None:
        """Messages of one poll were delivered, so long after the reply."""
        self.latency.polled_to_written.observe(duration_ns, messages)
        measured = self.by_canister.of(canister_id)
        measured.delivered += messages
        measured.polled_to_written.observe(duration_ns, messages)

    def poll_failed(self, canister_id: Principal) -> None:
        """A poll failed."""
        self.by_canister.of(canister_id).failed_polls += 1

    def traced(self, timeline: Timeline, polled: PollRecord, nonce: int, size: int) -> None:
        """One of them was delivered, and ``polled`` has a trace."""
        if self.trace_sink is not None:
            self.trace_sink.delivered(timeline, polled, nonce, size)


def request_id_of(call: Request | Call) -> bytes:
    """Empty for a call that the gateway signs."""
    return b"" if isinstance(call, Call) else call.request_id
