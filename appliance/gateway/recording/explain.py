"""Turns timelines into sentences for operators."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

from appliance.gateway.recording.timeline import ACCEPTED_ONLY, FIRST, ConnectionEnd, Kind, Timeline, TimelineEntry

_UNITS = ((1024**2, "MiB"), (1024, "KiB"))
_REGISTERED = {
    1000: "which is the ordinary end",
    1001: "which is the ordinary end",
    1002: "the client does not speak WebSocket as it should",
    1003: "the same thing will fail again",
    1006: "without a word",
    1007: "the client does not speak WebSocket as it should",
    1009: "the same thing will fail again",
    1011: "the client may come back later",
    1012: "the client may come back",
    1013: "the client may come back later",
}


def explain(timeline: Timeline, *, now_ns: int, label: Callable[[str], str] = str) -> list[str]:
    """The summary, then each entry with the time since the connection began."""
    lines = [*summary(timeline, now_ns=now_ns, label=label), ""]
    for number, entry in enumerate(timeline.entries):
        if timeline.dropped and number == FIRST:
            lines.append(f"{'…':>12}  {_counted(timeline.dropped, 'moment')} in between are forgotten.")
        since = f"+{(entry.at_ns - timeline.started_at_ns) / 1e9:.3f} s"
        lines.append(f"{since:>12}  {sentence(entry)}")
    return lines


def summary(timeline: Timeline, *, now_ns: int, label: Callable[[str], str] = str) -> list[str]:
    """The connection in a few sentences, which make sense without the entries. ``label`` returns a canister as people
    know it, by its id.
    """
    began = datetime.fromtimestamp(timeline.started_at_ns / 1e9, UTC)
    where = f"from {timeline.address}" if timeline.address else "from an address that is not known yet"
    lines = [f"Connection {timeline.id} came {where} on {began:%Y-%m-%d} at {began:%H:%M:%S} UTC."]
    if timeline.generation:
        lines += [_joining(timeline, label), _opening(timeline, now_ns), *_traffic(timeline)]
    elif len(timeline) > 1:
        lines.append("It never became a WebSocket.")
    return [*lines, _end(timeline, now_ns)]


def sentence(entry: TimelineEntry) -> str:
    """The sentence for one entry."""
    return _SENTENCES[entry.kind](entry.facts)


# --- the summary ----------------------------------------------------------------------------------------------------


def _joining(timeline: Timeline, label: Callable[[str], str]) -> str:
    spoken = f"It opened a WebSocket of generation {timeline.generation} at {timeline.path}"
    if timeline.client is None or timeline.canister is None:
        return f"{spoken}, and never showed which client it is."
    return f"{spoken}, as client {timeline.client} of canister {label(timeline.canister)}."


def _opening(timeline: Timeline, now_ns: int) -> str:
    if timeline.opened_at_ns is not None:
        until = now_ns if timeline.end is None else timeline.end.at_ns
        taken = duration(timeline.opened_at_ns - timeline.started_at_ns)
        state = "has been open for" if timeline.end is None else "was open for"
        return f"Its session opened after {taken} and {state} {duration(until - timeline.opened_at_ns)}."
    return "Its session is not open yet." if timeline.end is None else "Its session never opened."


def _traffic(timeline: Timeline) -> Iterator[str]:
    if timeline.frames:
        answered = f"the IC answered {_counted(timeline.relayed, 'call')} for it"
        failed = f", and {timeline.failed} came to nothing" if timeline.failed else ""
        yield f"{_counted(timeline.frames, 'message')} came from the client; {answered}{failed}."
    if timeline.delivered:
        yield f"{_counted(timeline.delivered, 'message')} of the canister went to the client."


def _end(timeline: Timeline, now_ns: int) -> str:
    end = timeline.end
    if end is None:
        is_over = any(entry.kind == "turned_away" for entry in timeline.entries)
        return (
            _turned_away(timeline) if is_over else f"It is there now, for {duration(now_ns - timeline.started_at_ns)}."
        )
    lasted = duration(end.at_ns - timeline.started_at_ns)
    match end.by:
        case "gateway":
            why = f"({_advice(end)}): {_stopped(end.cause)}"
            return f"The gateway closed it after {lasted}, with code {end.code} {why}"
        case "client":
            return f"The client closed it after {lasted}, with code {end.code}{_words(end)}."
        case "network":
            return f"It was lost after {lasted}, {_REGISTERED[1006]}: {_stopped(end.cause)}"


def _turned_away(timeline: Timeline) -> str:
    return next(sentence(entry) for entry in reversed(timeline.entries) if entry.kind == "turned_away")


def _advice(end: ConnectionEnd) -> str:
    known = _REGISTERED.get(end.code)
    return known or ("the client may come back" if end.code < 4500 else "the same thing will fail again")


def _words(end: ConnectionEnd) -> str:
    _, _, words = end.cause.partition(": ")
    return f" and the words: {words}" if words else ""


# --- single entries -------------------------------------------------------------------------------------------------


def _relayed(facts: dict[str, Any]) -> str:
    waited, known = facts["waited_ns"], facts["request_id"]
    queue = f" after {duration(waited)} in the queue" if waited > 10**7 else ""
    request = f", request {known[:16]}…" if known else ", signed by the gateway"
    return f"A call of {facts['method']} went to the IC{queue} ({size(facts['bytes'])}{request})."


def _answered(facts: dict[str, Any]) -> str:
    if facts["bytes"] == ACCEPTED_ONLY:
        return f"The IC took the call within {duration(facts['took_ns'])}; what came of it cannot be known."
    return f"The IC answered the call after {duration(facts['took_ns'])} ({size(facts['bytes'])})."


def _delivered(facts: dict[str, Any]) -> str:
    first, last, number = facts["first_nonce"], facts["last_nonce"], facts["messages"]
    which = f"nonce {first}" if first == last else f"nonces {first} to {last}"
    went = f"{_counted(number, 'message')} of the canister went to the client"
    return f"{went} ({size(facts['bytes'])}, {which}), brought by poll {facts['poll']}."


def _limited(facts: dict[str, Any]) -> str:
    what = "It connected" if facts["scope"] == "connections_per_ip" else f"It sent {_sent(facts['scope'])}"
    done = f"it may again in {duration(facts['delay_ns'])}"
    return f"{what} more often than is allowed; {done if facts['enforced'] else 'it was let through, in shadow mode'}."


def _sent(scope: str) -> str:
    """What a rate limit counts: the first word of its key."""
    return scope.partition("_")[0]


def _pinged(facts: dict[str, Any]) -> str:
    times = facts["times"]
    return "The client was silent and was pinged" + (f", {times} times in a row." if times > 1 else ".")


def _ended(facts: dict[str, Any]) -> str:
    match facts["by"]:
        case "client":
            return f"The client closed the connection, code {facts['code']}."
        case "network":
            return f"The connection was lost: {_stopped(facts['cause'])}"
    return "The socket is gone."


_SENTENCES: dict[Kind, Callable[[dict[str, Any]], str]] = {
    "accepted": lambda _: "A socket was accepted.",
    "turned_away": lambda facts: f"The request was turned away with HTTP {facts['status']}: {_stopped(facts['cause'])}",
    "upgraded": lambda _: "The WebSocket was established.",
    "frame": lambda facts: f"The client sent a message ({size(facts['bytes'])}).",
    "joined": lambda _: "The client's opening message was verified, and it was registered.",
    "relayed": _relayed,
    "answered": _answered,
    "failed": lambda facts: f"The call came to nothing after {duration(facts['took_ns'])}: {_stopped(facts['cause'])}",
    "opened": lambda _: "The session is open: messages flow.",
    "delivered": _delivered,
    "limited": _limited,
    "doubted": lambda facts: (
        f"Something does not verify, and was let through as configured: {_stopped(facts['cause'])}"
    ),
    "pinged": _pinged,
    "closing": lambda facts: f"The gateway closes the connection with code {facts['code']}: {_stopped(facts['cause'])}",
    "ended": _ended,
}


# --- words ----------------------------------------------------------------------------------------------------------


def duration(ns: int) -> str:
    """A duration as text, with two units at most."""
    seconds = abs(ns) / 1e9
    if seconds < 0.9995:
        return f"{seconds * 1000:.3g} ms"
    if seconds < 59.5:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, rest = divmod(minutes, 60)
    return f"{hours} h {rest} min" if hours < 48 else f"{hours // 24} d {hours % 24} h"


def size(number: int) -> str:
    """A number of bytes as text."""
    for unit, name in _UNITS:
        if number >= unit:
            return f"{number / unit:,.1f} {name}"
    return _counted(number, "byte")


def _stopped(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text}."


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
