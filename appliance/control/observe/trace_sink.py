"""Spans of OpenTelemetry for sessions, calls, polls and messages.

Needs the extra ``otel``; only ``observe.tracing`` imports this module.
"""

from typing import NamedTuple

from opentelemetry.context import Context
from opentelemetry.trace import Link, Span, SpanContext, SpanKind, Status, StatusCode, Tracer, set_span_in_context

from appliance.errors import GatewayError
from appliance.gateway.recording.recorder import RelayedCall, request_id_of
from appliance.gateway.recording.timeline import PollRecord, Timeline
from appliance.ic.principal import Principal


class _Session(NamedTuple):
    """The span of a connection, and the context for its child spans."""

    span: Span
    context: Context


class OtelTraceSink:
    """Makes spans from the recorder (a ``TraceSink``): sessions, with relays and messages as their
    children, and polls, to which messages are linked.
    """

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer

    def began(self, timeline: Timeline) -> object:
        """A WebSocket was established. Returns None if it is not sampled: then nothing of it is traced."""
        attributes = {
            "icws.session": timeline.id,
            "icws.generation": timeline.generation,
            "client.address": timeline.address,
            "url.path": timeline.path,
        }
        span = self._tracer.start_span(
            "session", Context(), SpanKind.SERVER, attributes, start_time=timeline.started_at_ns
        )
        return _Session(span, set_span_in_context(span, Context())) if span.is_recording() else None

    def ended(self, timeline: Timeline) -> None:
        """The connection ended."""
        if not isinstance(timeline.trace, _Session):
            return
        span, end = timeline.trace.span, timeline.end
        if timeline.canister is not None and timeline.client is not None:
            span.set_attributes({"icws.canister": timeline.canister, "icws.client": timeline.client})
        span.set_attributes({"icws.messages.in": timeline.frames, "icws.messages.out": timeline.delivered})
        if timeline.opened_at_ns is not None:
            span.add_event("open", timestamp=timeline.opened_at_ns)
        if end is not None:
            span.set_attributes({"icws.close.code": end.code, "icws.close.by": end.by})
            if end.reason is not None:
                span.set_status(Status(StatusCode.ERROR, f"{end.reason}: {end.cause}"))
        span.end(None if end is None else end.at_ns)

    def relayed(self, timeline: Timeline, relayed: RelayedCall, at_ns: int, error: GatewayError | None) -> None:
        """A call of the client was answered, or failed."""
        if not isinstance(timeline.trace, _Session):
            return
        call, size, queued_ns, sent_ns = relayed
        span = self._tracer.start_span(
            "relay",
            timeline.trace.context,
            SpanKind.CLIENT,
            {
                "ic.canister": str(Principal(call.canister_id)),
                "ic.method": call.method_name,
                "ic.request_id": request_id_of(call).hex(),
                "icws.bytes": size,
                "icws.queued_s": (sent_ns - queued_ns) / 1e9,
            },
            start_time=sent_ns,
        )
        if error is not None:
            span.set_status(Status(StatusCode.ERROR, error.reason))
        span.end(at_ns)

    def polled(self, canister_id: Principal, number: int, asked_ns: int, came_ns: int, messages: int) -> object:
        """A poll returned messages. Returns the span context that their spans link to."""
        span = self._tracer.start_span(
            "poll",
            Context(),
            SpanKind.CLIENT,
            {"ic.canister": str(canister_id), "icws.poll": number, "icws.messages": messages},
            start_time=asked_ns,
        )
        span.end(came_ns)
        return span.get_span_context()

    def delivered(self, timeline: Timeline, polled: PollRecord, nonce: int, size: int) -> None:
        """A message was written to its client."""
        if not isinstance(timeline.trace, _Session):
            return
        links = [Link(polled.trace)] if isinstance(polled.trace, SpanContext) else []
        span = self._tracer.start_span(
            "message",
            timeline.trace.context,
            SpanKind.PRODUCER,
            {"icws.nonce": nonce, "icws.bytes": size, "icws.poll": polled.number},
            links=links,
            start_time=polled.at_ns,
        )
        span.end(polled.at_ns)
