"""The recorder keeps the beginning and the end, loses count of nothing, and cannot grow."""

import json
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.gateway.recording.timeline import (
    ACCEPTED_ONLY,
    FIRST,
    LIMIT,
    MAX_TEXT,
    ConnectionEnd,
    PollRecord,
    Timeline,
    TimelineEntry,
)
from appliance.gateway.recording.timelines import Timelines

T0 = 1_700_000_000_000_000_000
REQUEST_ID = bytes(range(32))
END = ConnectionEnd(T0 + 9, 4108, "gateway", "too much", "rate_limited")
EVERYTHING = {
    "turned_away": (lambda timeline: timeline.turned_away(T0, 429, "too often"), {"status": 429, "cause": "too often"}),
    "upgraded": (lambda timeline: timeline.upgraded(T0, "/v2?token=secret", "v2"), {}),
    "frame": (lambda timeline: timeline.frame(T0, 212), {"bytes": 212}),
    "joined": (lambda timeline: timeline.joined(T0, "canister", "client"), {}),
    "relayed": (
        lambda timeline: timeline.relay(T0, "ws_message", REQUEST_ID, 300, 5),
        {"bytes": 300, "waited_ns": 5, "request_id": REQUEST_ID.hex(), "method": "ws_message"},
    ),
    "answered": (lambda timeline: timeline.answered(T0, 7, ACCEPTED_ONLY), {"took_ns": 7, "bytes": -1}),
    "failed": (lambda timeline: timeline.relay_failed(T0, 7, "rejected"), {"took_ns": 7, "cause": "rejected"}),
    "opened": (lambda timeline: timeline.opened(T0), {}),
    "delivered": (
        lambda timeline: timeline.deliver(PollRecord(3, T0), 17, 1500),
        {"poll": 3, "messages": 1, "bytes": 1500, "first_nonce": 17, "last_nonce": 17},
    ),
    "limited": (
        lambda timeline: timeline.limited(T0, "messages_per_client", 8, enforced=True),
        {"delay_ns": 8, "enforced": True, "scope": "messages_per_client"},
    ),
    "doubted": (lambda timeline: timeline.doubted(T0, "no signature"), {"cause": "no signature"}),
    "pinged": (lambda timeline: timeline.pinged(T0), {"times": 1}),
    "closing": (lambda timeline: timeline.closing(T0, 4108, "too much"), {"code": 4108, "cause": "too much"}),
    "ended": (lambda timeline: timeline.ended(END), {"code": 4108, "by": "gateway", "cause": "too much"}),
}


@pytest.mark.parametrize("kind", EVERYTHING)
def test_what_is_recorded_is_what_is_read(kind):
    record, facts = EVERYTHING[kind]
    timeline = Timeline(T0 - 1)
    record(timeline)
    accepted, moment = timeline.entries
    assert accepted == TimelineEntry(T0 - 1, "accepted", {})
    assert moment == TimelineEntry(T0 + 9 if kind == "ended" else T0, kind, facts)
    assert json.loads(json.dumps(moment.facts)) == facts


def test_a_call_of_the_gateway_has_no_request_id():
    timeline = Timeline(T0)
    timeline.relay(T0, "ws_open", b"", 300, 0)
    assert timeline.entries[-1].facts["request_id"] is None


def test_queries_of_paths_are_not_kept():
    timeline = Timeline(T0)
    timeline.upgraded(T0, "/v2?token=secret", "v2")
    assert timeline.path == "/v2"


@given(st.text(max_size=3 * MAX_TEXT))
def test_texts_are_cut_and_read_again(text):
    timeline = Timeline(T0)
    timeline.doubted(T0, text)
    assert timeline.entries[-1].facts == {"cause": text[:MAX_TEXT].encode(errors="replace").decode()}


@dataclass
class Model:
    """What a timeline should have: every moment, in a list that grows."""

    timeline: Timeline = field(default_factory=lambda: Timeline(T0))
    moments: list[tuple[str, dict]] = field(default_factory=lambda: [("accepted", {})])
    polls: int = 0

    def frame(self, size: int) -> None:
        self.timeline.frame(T0, size)
        self.moments.append(("frame", {"bytes": size}))

    def ping(self, _: int) -> None:
        self.timeline.pinged(T0)
        if self.moments[-1][0] == "pinged":
            self.moments[-1] = ("pinged", {"times": self.moments[-1][1]["times"] + 1})
        else:
            self.moments.append(("pinged", {"times": 1}))

    def poll(self, nonce: int) -> None:
        self.polls += 1
        self.deliver(nonce)

    def deliver(self, nonce: int) -> None:
        self.timeline.deliver(PollRecord(self.polls, T0), nonce, 10)
        kind, facts = self.moments[-1]
        if kind == "delivered" and facts["poll"] == self.polls:
            more = {"messages": facts["messages"] + 1, "bytes": facts["bytes"] + 10, "last_nonce": nonce}
            self.moments[-1] = (kind, {**facts, **more})
        else:
            facts = {"poll": self.polls, "messages": 1, "bytes": 10, "first_nonce": nonce, "last_nonce": nonce}
            self.moments.append(("delivered", facts))


@given(st.integers(0, 3 * LIMIT), st.randoms(use_true_random=False))
def test_the_beginning_and_the_end_are_kept_whatever_happens(number, random):
    steps = [(random.choice(["frame", "ping", "poll", "deliver"]), random.randrange(1 << 30)) for _ in range(number)]
    model = Model()
    for name, value in steps:
        getattr(model, name)(value)
    timeline, moments = model.timeline, model.moments
    dropped = max(0, len(moments) - LIMIT)
    kept = [(moment.kind, moment.facts) for moment in timeline.entries]
    assert kept == [*moments[:FIRST], *moments[FIRST + dropped :]]
    assert (len(timeline), timeline.dropped, timeline.total) == (len(kept), dropped, len(moments))
    assert len(timeline) <= LIMIT
    assert timeline.frames == sum(name == "frame" for name, _ in steps)
    assert timeline.delivered == sum(name in ("poll", "deliver") for name, _ in steps)


def test_a_story_that_never_ends_takes_no_more_room():
    timeline = Timeline(T0)
    for number in range(20 * LIMIT):
        timeline.relay(T0, "ws_message", REQUEST_ID, 300, 5)
        timeline.relay_failed(T0, 7, "x" * 10_000)
        timeline.deliver(PollRecord(number, T0), number, 1500)
    assert len(timeline) == len(timeline.entries) == LIMIT
    assert timeline.total == 1 + 60 * LIMIT


def test_stories_are_found_live_and_closed():
    timelines, timeline = Timelines(), Timeline(T0)
    timelines.begin(timeline)
    assert timelines.find(timeline.id) is timeline
    timelines.end(timeline)
    assert timelines.find(timeline.id) is timeline
    assert list(timelines.closed()) == [timeline]
    assert timelines.find("nobody") is None


def test_what_a_closed_story_still_gets_leaves_no_more_room_for_others():
    timelines = Timelines(closed=8, entries=100)
    for _ in range(50):
        timeline = Timeline(T0)
        timelines.begin(timeline)
        for _ in range(49):
            timeline.frame(T0, 1)
        timelines.end(timeline)
        for _ in range(40):
            timeline.answered(T0, 1, 1)
    assert len(list(timelines.closed())) == 2


@given(st.lists(st.tuples(st.integers(1, 60), st.booleans()), max_size=60))
def test_closed_stories_are_bounded_in_number_and_in_moments(lengths):
    timelines, ended = Timelines(closed=8, entries=100, turned_away=3), []
    for moments, became_websocket in lengths:
        timeline = Timeline(T0)
        if became_websocket:
            timelines.begin(timeline)
        for _ in range(moments - 1):
            timeline.frame(T0, 1)
        timelines.end(timeline)
        ended.append((timeline, became_websocket))
    kept = list(timelines.closed())
    sessions = [timeline for timeline, became_websocket in reversed(ended) if became_websocket]
    assert kept == sessions[: len(kept)]
    assert len(kept) <= 8
    assert sum(map(len, kept)) <= 100
    following = sessions[len(kept) : len(kept) + 1]
    assert not following or len(kept) == 8 or sum(map(len, kept)) + len(following[0]) > 100
    strangers = [timeline for timeline, became_websocket in ended if not became_websocket and len(timeline) > 1]
    assert list(timelines.turned_away) == strangers[-3:]
    assert all(timelines.find(timeline.id) is timeline for timeline in [*kept, *strangers[-3:]])
    assert len(timelines) == len(kept) + len(strangers[-3:])
