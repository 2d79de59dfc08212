"""What is written down of messages on their way: timelines, durations, and spans where somebody traces."""

from collections.abc import Callable
from dataclasses import dataclass, field
from time import perf_counter_ns
from typing import Protocol, TypeAlias

from appliance.crypto import PollReply, Request
from appliance.errors import GatewayError
from appliance.gateway.recording.measurements import Latencies
from appliance.gateway.recording.timeline import ACCEPTED_ONLY, Polled, Timeline
from appliance.gateway.recording.timelines import Timelines
from appliance.gateway.recording.timestamps import of_call, of_frame
from appliance.ic.principal import Principal
from appliance.protocol.events import Call, Event, Relay

SAMPLED = 32
"""Of so many messages of a client, one is measured in ways that cost microseconds."""


Relaying: TypeAlias = tuple[Request | Call, int, int, int]
"""A call on its way to the IC: the call, its bytes, since when it waited, and when it went (ns since 1970)."""


class TraceSink(Protocol):
    """Whoever traces. Nothing here raises or waits; what a method returns is given back as ``link``."""

    def began(self, timeline: Timeline) -> object:
        """A WebSocket is established."""

    def ended(self, timeline: Timeline) -> None:
        """It is gone; ``timeline.link`` is what ``began`` returned."""

    def relayed(self, timeline: Timeline, relaying: Relaying, at_ns: int, error: GatewayError | None) -> None:
        """A call was answered by the IC, or came to nothing."""

    def polled(self, canister_id: Principal, number: int, asked_ns: int, came_ns: int, messages: int) -> object:
        """A poll brought messages."""

    def delivered(self, timeline: Timeline, polled: Polled, nonce: int, size: int) -> None:
        """A message was passed on; ``polled.link`` is what ``polled`` returned."""


@dataclass(slots=True)
class Recorder:
    """One for the whole gateway. Everything costs well below a microsecond unless it says otherwise."""

    timelines: Timelines = field(default_factory=Timelines)
    latency: Latencies = field(default_factory=Latencies)
    trace_sink: TraceSink | None = None

    # --- connections ------------------------------------------------------------------------------------------------

    def began(self, timeline: Timeline) -> None:
        """A WebSocket is established."""
        self.timelines.begin(timeline)
        if self.trace_sink is not None:
            timeline.link = self.trace_sink.began(timeline)

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
        return events

    def relaying(self, timeline: Timeline, relaying: Relaying) -> None:
        """A call goes to the IC."""
        call, size, since_ns, now_ns = relaying
        timeline.relay(now_ns, call.method_name, request_id_of(call), size, now_ns - since_ns)

    def answered(self, timeline: Timeline, relaying: Relaying, reply: bytes | None, now_ns: int) -> None:
        """The IC answered it."""
        _, _, since_ns, begun_ns = relaying
        timeline.answered(now_ns, now_ns - begun_ns, ACCEPTED_ONLY if reply is None else len(reply))
        self.latency.gateway_to_ic.observe(now_ns - since_ns)
        if self.trace_sink is not None:
            self.trace_sink.relayed(timeline, relaying, now_ns, None)

    def failed(self, timeline: Timeline, relaying: Relaying, error: GatewayError, now_ns: int) -> None:
        """It came to nothing."""
        timeline.relay_failed(now_ns, now_ns - relaying[3], str(error))
        if self.trace_sink is not None:
            self.trace_sink.relayed(timeline, relaying, now_ns, error)

    # --- down -------------------------------------------------------------------------------------------------------

    def polled(
        self, canister_id: Principal, number: int, reply: PollReply, *, asked_ns: int, came_ns: int, now_ns: int
    ) -> Polled:
        """A poll brought messages, which are passed on now."""
        messages = reply.messages
        written_ns = of_frame(messages[0].frame)
        if written_ns is not None:
            self.latency.canister_to_polled.observe(came_ns - written_ns)
        if self.trace_sink is None:
            return Polled(number, now_ns)
        return Polled(number, now_ns, self.trace_sink.polled(canister_id, number, asked_ns, came_ns, len(messages)))

    def traced(self, timeline: Timeline, polled: Polled, nonce: int, size: int) -> None:
        """One of them was passed on, and ``polled`` has a link."""
        if self.trace_sink is not None:
            self.trace_sink.delivered(timeline, polled, nonce, size)


def request_id_of(call: Request | Call) -> bytes:
    """Empty for a call that the gateway signs."""
    return b"" if isinstance(call, Call) else call.request_id
