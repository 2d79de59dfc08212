"""Sentences of single moments, of whole timelines, and of those that the gateway itself wrote."""

import re
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.gateway.recording.explain import duration, explain, sentence, size, summary
from appliance.gateway.recording.timeline import FIRST, LIMIT, ConnectionEnd, Kind, PollRecord, Timeline
from tests.gateway.recording.test_timeline import EVERYTHING, T0

SECOND = 10**9


def lived(*, end: ConnectionEnd | None = None) -> Timeline:
    """A session as it should be."""
    timeline = Timeline(T0)
    timeline.address = "203.0.113.7"
    timeline.upgraded(T0, "/v2", "v2")
    timeline.frame(T0 + SECOND, 300)
    timeline.joined(T0 + SECOND, "bkyz2-fmaaa-aaaaa-qaaaq-cai", "abcde_7")
    timeline.relay(T0 + SECOND, "ws_open", bytes(range(32)), 300, 0)
    timeline.answered(T0 + 3 * SECOND, 2 * SECOND, 34)
    timeline.deliver(PollRecord(5, T0 + 4 * SECOND), 17, 1500)
    timeline.opened(T0 + 4 * SECOND)
    if end is not None:
        timeline.ended(end)
    return timeline


def test_a_session_that_lives():
    timeline = lived()
    assert summary(timeline, now_ns=T0 + 125 * SECOND) == [
        f"Connection {timeline.id} came from 203.0.113.7 on 2023-11-14 at 22:13:20 UTC.",
        "It opened a WebSocket of generation v2 at /v2, as client abcde_7 of canister bkyz2-fmaaa-aaaaa-qaaaq-cai.",
        "Its session opened after 4 s and has been open for 2 min 1 s.",
        "1 message came from the client; the IC answered 1 call for it.",
        "1 message of the canister went to the client.",
        "It is there now, for 2 min 5 s.",
    ]


@pytest.mark.parametrize(
    ("end", "told"),
    [
        (
            ConnectionEnd(T0 + 6 * SECOND, 4108, "gateway", "the limit is 5 messages/s", "rate_limited"),
            "The gateway closed it after 6 s, with code 4108 (the client may come back): the limit is 5 messages/s.",
        ),
        (
            ConnectionEnd(T0 + 6 * SECOND, 4500, "gateway", "malformed frame", "malformed"),
            "The gateway closed it after 6 s, with code 4500 (the same thing will fail again): malformed frame.",
        ),
        (
            ConnectionEnd(T0 + 6 * SECOND, 1013, "gateway", "the canister is full", "canister_full"),
            "The gateway closed it after 6 s, with code 1013 (the client may come back later): the canister is full.",
        ),
        (
            ConnectionEnd(T0 + 6 * SECOND, 1000, "client", "client", None),
            "The client closed it after 6 s, with code 1000.",
        ),
        (
            ConnectionEnd(T0 + 6 * SECOND, 1000, "client", "client: bye", None),
            "The client closed it after 6 s, with code 1000 and the words: bye.",
        ),
        (
            ConnectionEnd(T0 + 6 * SECOND, 1006, "network", "connection lost", None),
            "It was lost after 6 s, without a word: connection lost.",
        ),
    ],
)
def test_how_a_session_ended(end, told):
    lines = summary(lived(end=end), now_ns=T0 + 1000 * SECOND)
    assert lines[2] == "Its session opened after 4 s and was open for 2 s."
    assert lines[-1] == told


def test_calls_that_came_to_nothing_are_counted():
    timeline = lived()
    timeline.relay_failed(T0 + 5 * SECOND, SECOND, "rejected")
    assert "the IC answered 1 call for it, and 1 came to nothing." in summary(timeline, now_ns=T0)[3]


def test_a_client_that_was_turned_away():
    timeline = Timeline(T0)
    timeline.address = "203.0.113.7"
    timeline.turned_away(T0, 429, "the limit is 5 connections/s")
    assert summary(timeline, now_ns=T0)[1:] == [
        "It never became a WebSocket.",
        "The request was turned away with HTTP 429: the limit is 5 connections/s.",
    ]


def test_a_client_that_never_said_who_it_is():
    timeline = Timeline(T0)
    timeline.upgraded(T0, "/", "v1")
    timeline.ended(ConnectionEnd(T0 + SECOND, 1006, "network", "connection lost", None))
    assert summary(timeline, now_ns=T0)[1:] == [
        "It opened a WebSocket of generation v1 at /, and never showed which client it is.",
        "Its session never opened.",
        "It was lost after 1 s, without a word: connection lost.",
    ]


def test_every_kind_has_its_sentence():
    sentences = {}
    for kind in get_args(Kind):
        timeline = Timeline(T0)
        if kind != "accepted":
            EVERYTHING[kind][0](timeline)
        sentences[kind] = sentence(timeline.entries[-1])
        assert re.fullmatch(r"[A-Z0-9][^\n]*[.]", sentences[kind])
    assert len(set(sentences.values())) == len(sentences)


@pytest.mark.parametrize(
    ("record", "told"),
    [
        (
            lambda timeline: timeline.relay(T0, "ws_open", b"", 300, 0),
            "A call of ws_open went to the IC (300 bytes, signed by the gateway).",
        ),
        (
            lambda timeline: timeline.relay(T0, "ws_message", bytes(range(32)), 2048, 2 * SECOND),
            "A call of ws_message went to the IC after 2 s in the queue (2.0 KiB, request 0001020304050607…).",
        ),
        (
            lambda timeline: timeline.answered(T0, SECOND, -1),
            "The IC took the call within 1 s; what came of it cannot be known.",
        ),
        (
            lambda timeline: timeline.limited(T0, "connections_per_ip", SECOND, enforced=False),
            "It connected more often than is allowed; it was let through, in shadow mode.",
        ),
        (
            lambda timeline: timeline.limited(T0, "messages_per_client", SECOND // 2, enforced=True),
            "It sent messages more often than is allowed; it may again in 500 ms.",
        ),
        (
            lambda timeline: (timeline.pinged(T0), timeline.pinged(T0)),
            "The client was silent and was pinged, 2 times in a row.",
        ),
        (
            lambda timeline: [timeline.deliver(PollRecord(5, T0), nonce, 1000) for nonce in (17, 40)],
            "2 messages of the canister went to the client (2.0 KiB, nonces 17 to 40), brought by poll 5.",
        ),
    ],
)
def test_moments_in_words(record, told):
    timeline = Timeline(T0)
    record(timeline)
    assert sentence(timeline.entries[-1]) == told


def test_a_long_story_says_what_it_leaves_out():
    timeline = lived()
    for number in range(LIMIT):
        timeline.frame(T0 + number * SECOND, 10)
    lines = explain(timeline, now_ns=T0 + LIMIT * SECOND)
    dropped = timeline.dropped
    assert dropped > 0
    moments = lines[lines.index("") + 1 :]
    assert moments[FIRST] == f"           …  {dropped} moments in between are forgotten."
    assert len(moments) == LIMIT + 1
    assert moments[-1] == f"  +{LIMIT - 1}.000 s  The client sent a message (10 bytes)."


def test_times_count_from_the_beginning():
    lines = explain(lived(), now_ns=T0 + 5 * SECOND)
    assert "    +3.000 s  The IC answered the call after 2 s (34 bytes)." in lines


@given(st.integers(0, 10**17))
def test_time_spans_are_short_and_near(ns):
    text = duration(ns)
    units = {"ms": 1e-3, "s": 1, "min": 60, "h": 3600, "d": 86400}
    parts = re.findall(r"([0-9.e+-]+) (ms|s|min|h|d)", text)
    assert " ".join(f"{number} {unit}" for number, unit in parts) == text
    assert len(parts) <= 2
    assert sum(float(number) * units[unit] for number, unit in parts) == pytest.approx(ns / 1e9, rel=0.02, abs=1e-9)
    assert "e+" not in text


@given(st.integers(0, 10**10))
def test_sizes_are_short_and_near(number):
    text, unit = size(number).replace(",", "").split()
    value = float(text) * {"byte": 1, "bytes": 1, "KiB": 1024, "MiB": 1024**2}[unit]
    assert value == pytest.approx(number, rel=0.05)
