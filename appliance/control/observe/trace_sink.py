"""Spans of OpenTelemetry for sessions, calls, polls and messages.

Needs the extra ``otel``; only ``observe.tracing`` imports this module.
"""

from typing import NamedTuple

from opentelemetry.context import Context
from opentelemetry.trace import Link, Span, SpanContext, SpanKind, Status, StatusCode, Tracer, set_span_in_context

from appliance.errors import GatewayError
from appliance.gateway.recording.recorder import Relaying, request_id_of
from appliance.gateway.recording.timeline import Polled, Timeline
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
        if not isinstance(timeline.link, _Session):
            return
        span, ending = timeline.link.span, timeline.ending
        if timeline.canister is not None and timeline.client is not None:
            span.set_attributes({"icws.canister": timeline.canister, "icws.client": timeline.client})
        span.set_attributes({"icws.messages.in": timeline.frames, "icws.messages.out": timeline.delivered})
        if timeline.opened_at_ns is not None:
            span.add_event("open", timestamp=timeline.opened_at_ns)
        if ending is not None:
            span.set_attributes({"icws.close.code": ending.code, "icws.close.by": ending.by})
            if ending.reason is not None:
                span.set_status(Status(StatusCode.ERROR, f"{ending.reason}: {ending.cause}"))
        span.end(None if ending is None else ending.at_ns)

    def relayed(self, timeline: Timeline, relaying: Relaying, at_ns: int, error: GatewayError | None) -> None:
        """A call of the client was answered, or failed."""
        if not isinstance(timeline.link, _Session):
            return
        call, size, since_ns, begun_ns = relaying
        span = self._tracer.start_span(
            "relay",
            timeline.link.context,
            SpanKind.CLIENT,
            {
                "ic.canister": str(Principal(call.canister_id)),
                "ic.method": call.method_name,
                "ic.request_id": request_id_of(call).hex(),
                "icws.bytes": size,
                "icws.queued_s": (begun_ns - since_ns) / 1e9,
            },
            start_time=begun_ns,
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

    def delivered(self, timeline: Timeline, polled: Polled, nonce: int, size: int) -> None:
        """A message was written to its client."""
        if not isinstance(timeline.link, _Session):
            return
        links = [Link(polled.link)] if isinstance(polled.link, SpanContext) else []
        span = self._tracer.start_span(
            "message",
            timeline.link.context,
            SpanKind.PRODUCER,
            {"icws.nonce": nonce, "icws.bytes": size, "icws.poll": polled.number},
            links=links,
            start_time=polled.at_ns,
        )
        span.end(polled.at_ns)
