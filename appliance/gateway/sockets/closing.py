"""The end of a connection: codes and reasons of close frames, and where an end is recorded."""

from dataclasses import asdict

import structlog

from appliance.errors import ClosedByOperator, GatewayError
from appliance.gateway.gateway import Gateway
from appliance.gateway.hooks import Ending
from appliance.gateway.peer import Peer
from appliance.gateway.recording.timeline import ConnectionEnd
from appliance.gateway.sockets.frame_parser import FrameParser
from appliance.gateway.sockets.refusals import Refusal, Refusals

_log = structlog.get_logger(__name__)

MAX_REASON = 123
"""Bytes of a close reason: a control frame has 125, the code takes two (RFC 6455 section 5.5)."""
COMMON_CODES = frozenset(range(1000, 1016)) | {4000, 4001}
"""Close codes of clients that are counted one by one; all others count as 0, so that clients cannot create series."""


def cut_reason(text: str) -> str:
    """At most 123 bytes of UTF-8, cut between characters."""
    data = text.encode()
    return text if len(data) <= MAX_REASON else data[: MAX_REASON - 3].decode(errors="ignore") + "…"


def close_of(error: Exception) -> tuple[int, str]:
    """The code and the sentence to close a socket with.

    An exception that is not one of ours says nothing to the client: its text may hold anything.
    """
    known = error if isinstance(error, GatewayError) else GatewayError()
    return known.code if isinstance(known, ClosedByOperator) else known.close_code, known.close_reason


def reason_of(error: Exception | None) -> str | None:
    """The label that a close counts by; None where the gateway did not close for an error."""
    if isinstance(error, GatewayError):
        return error.reason
    return None if error is None else "internal"


def end_of(parser: FrameParser, cause: Exception | None, now_ns: int) -> ConnectionEnd:
    """How an upgraded connection ended. ``cause`` is the error that the gateway closed it for, None if it did not."""
    sent, received = parser.close_sent, parser.close_rcvd
    code = 1006 if sent is None else int(sent.code)  # the library has names for some codes, which a log would show
    if cause is not None:
        return ConnectionEnd(now_ns, code, "gateway", str(cause), reason_of(cause))
    if received is not None:
        words = f"client: {received.reason}" if received.reason else "client"
        return ConnectionEnd(now_ns, code, "client", words, None)
    return ConnectionEnd(now_ns, code, "network", parser.problem or "connection lost", None)


def _count_refused(gateway: Gateway, peer: Peer, reason: str) -> None:
    gateway.counters.refused[reason] += 1
    was_counted = peer.timeline.failed > 0  # by failed_relays
    gateway.counters.relay_closes += was_counted
    if peer.join is not None:
        measured = gateway.recorder.by_canister.of(peer.join.canister_id)
        measured.refused += 1
        measured.relay_closes += was_counted


def record_end(gateway: Gateway, refusals: Refusals, peer: Peer, end: ConnectionEnd, seconds: float) -> None:
    """Record the end of an upgraded connection, which lasted so many seconds: counters, log, timeline, plugins, events.

    Plugins are called and events published last, so that whoever reacts to them finds everything else up to date.
    """
    counters, timeline = gateway.counters, peer.timeline
    counters.closed[end.code if end.by == "gateway" or end.code in COMMON_CODES else 0] += 1
    if end.reason is not None:
        _count_refused(gateway, peer, end.reason)
    _log.info(
        "connection closed",
        peer=peer.id,
        address=timeline.address,
        canister=timeline.canister,
        client=timeline.client,
        code=end.code,
        cause=end.cause,
        seconds=round(seconds, 3),
    )
    timeline.ended(end)
    if (notify := gateway.hooks.close) is not None:
        notify(peer.who, Ending(end.code, end.cause, end.reason, seconds, timeline.delivered))
    if timeline.opened_at_ns is not None:
        facts = asdict(peer.who) | {"code": end.code, "cause": end.cause, "delivered": timeline.delivered}
        gateway.event_bus.publish("session.closed", **facts)
    elif end.reason is not None:
        refusals.close(
            Refusal(
                timeline.id,
                end.at_ns,
                timeline.address,
                end.reason,
                end.cause,
                code=end.code,
                path=timeline.path,
                canister=timeline.canister,
            )
        )
