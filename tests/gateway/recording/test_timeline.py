"""The recorder keeps the beginning and the end, loses count of nothing, and cannot grow."""

import json
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.gateway.recording.timeline import ACCEPTED_ONLY, FIRST, LIMIT, MAX_TEXT, End, Moment, Polled, Story
from appliance.gateway.recording.timelines import Stories

T0 = 1_700_000_000_000_000_000
REQUEST_ID = bytes(range(32))
END = End(T0 + 9, 4108, "gateway", "too much", "rate_limited")
EVERYTHING = {
    "turned_away": (lambda story: story.turned_away(T0, 429, "too often"), {"status": 429, "cause": "too often"}),
    "upgraded": (lambda story: story.upgraded(T0, "/v2?token=secret", "v2"), {}),
    "frame": (lambda story: story.frame(T0, 212), {"bytes": 212}),
    "joined": (lambda story: story.joined(T0, "canister", "client"), {}),
    "relayed": (
        lambda story: story.relay(T0, "ws_message", REQUEST_ID, 300, 5),
        {"bytes": 300, "waited_ns": 5, "request_id": REQUEST_ID.hex(), "method": "ws_message"},
    ),
    "answered": (lambda story: story.answered(T0, 7, ACCEPTED_ONLY), {"took_ns": 7, "bytes": -1}),
    "failed": (lambda story: story.relay_failed(T0, 7, "rejected"), {"took_ns": 7, "cause": "rejected"}),
    "opened": (lambda story: story.opened(T0), {}),
    "delivered": (
        lambda story: story.deliver(Polled(3, T0), 17, 1500),
        {"poll": 3, "messages": 1, "bytes": 1500, "first_nonce": 17, "last_nonce": 17},
    ),
    "limited": (
        lambda story: story.limited(T0, "messages_per_client", 8, enforced=True),
        {"delay_ns": 8, "enforced": True, "scope": "messages_per_client"},
    ),
    "doubted": (lambda story: story.doubted(T0, "no signature"), {"cause": "no signature"}),
    "pinged": (lambda story: story.pinged(T0), {"times": 1}),
    "closing": (lambda story: story.closing(T0, 4108, "too much"), {"code": 4108, "cause": "too much"}),
    "ended": (lambda story: story.ended(END), {"code": 4108, "by": "gateway", "cause": "too much"}),
}


@pytest.mark.parametrize("kind", EVERYTHING)
def test_what_is_recorded_is_what_is_read(kind):
    record, facts = EVERYTHING[kind]
    story = Story(T0 - 1)
    record(story)
    accepted, moment = story.moments
    assert accepted == Moment(T0 - 1, "accepted", {})
    assert moment == Moment(T0 + 9 if kind == "ended" else T0, kind, facts)
    assert json.loads(json.dumps(moment.facts)) == facts


def test_a_call_of_the_gateway_has_no_request_id():
    story = Story(T0)
    story.relay(T0, "ws_open", b"", 300, 0)
    assert story.moments[-1].facts["request_id"] is None


def test_queries_of_paths_are_not_kept():
    story = Story(T0)
    story.upgraded(T0, "/v2?token=secret", "v2")
    assert story.path == "/v2"


@given(st.text(max_size=3 * MAX_TEXT))
def test_texts_are_cut_and_read_again(text):
    story = Story(T0)
    story.doubted(T0, text)
    assert story.moments[-1].facts == {"cause": text[:MAX_TEXT].encode(errors="replace").decode()}


@dataclass
class Model:
    """What a story should have: every moment, in a list that grows."""

    story: Story = field(default_factory=lambda: Story(T0))
    moments: list[tuple[str, dict]] = field(default_factory=lambda: [("accepted", {})])
    polls: int = 0

    def frame(self, size: int) -> None:
        self.story.frame(T0, size)
        self.moments.append(("frame", {"bytes": size}))

    def ping(self, _: int) -> None:
        self.story.pinged(T0)
        if self.moments[-1][0] == "pinged":
            self.moments[-1] = ("pinged", {"times": self.moments[-1][1]["times"] + 1})
        else:
            self.moments.append(("pinged", {"times": 1}))

    def poll(self, nonce: int) -> None:
        self.polls += 1
        self.deliver(nonce)

    def deliver(self, nonce: int) -> None:
        self.story.deliver(Polled(self.polls, T0), nonce, 10)
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
    story, moments = model.story, model.moments
    dropped = max(0, len(moments) - LIMIT)
    kept = [(moment.kind, moment.facts) for moment in story.moments]
    assert kept == [*moments[:FIRST], *moments[FIRST + dropped :]]
    assert (len(story), story.dropped, story.total) == (len(kept), dropped, len(moments))
    assert len(story) <= LIMIT
    assert story.frames == sum(name == "frame" for name, _ in steps)
    assert story.delivered == sum(name in ("poll", "deliver") for name, _ in steps)


def test_a_story_that_never_ends_takes_no_more_room():
    story = Story(T0)
    for number in range(20 * LIMIT):
        story.relay(T0, "ws_message", REQUEST_ID, 300, 5)
        story.relay_failed(T0, 7, "x" * 10_000)
        story.deliver(Polled(number, T0), number, 1500)
    assert len(story) == len(story.moments) == LIMIT
    assert story.total == 1 + 60 * LIMIT


def test_stories_are_found_live_and_closed():
    stories, story = Stories(), Story(T0)
    stories.begin(story)
    assert stories.find(story.id) is story
    stories.end(story)
    assert stories.find(story.id) is story
    assert list(stories.closed()) == [story]
    assert stories.find("nobody") is None


def test_what_a_closed_story_still_gets_leaves_no_more_room_for_others():
    stories = Stories(closed=8, moments=100)
    for _ in range(50):
        story = Story(T0)
        stories.begin(story)
        for _ in range(49):
            story.frame(T0, 1)
        stories.end(story)
        for _ in range(40):
            story.answered(T0, 1, 1)
    assert len(list(stories.closed())) == 2


@given(st.lists(st.tuples(st.integers(1, 60), st.booleans()), max_size=60))
def test_closed_stories_are_bounded_in_number_and_in_moments(lengths):
    stories, ended = Stories(closed=8, moments=100, turned_away=3), []
    for moments, became_websocket in lengths:
        story = Story(T0)
        if became_websocket:
            stories.begin(story)
        for _ in range(moments - 1):
            story.frame(T0, 1)
        stories.end(story)
        ended.append((story, became_websocket))
    kept = list(stories.closed())
    sessions = [story for story, became_websocket in reversed(ended) if became_websocket]
    assert kept == sessions[: len(kept)]
    assert len(kept) <= 8
    assert sum(map(len, kept)) <= 100
    following = sessions[len(kept) : len(kept) + 1]
    assert not following or len(kept) == 8 or sum(map(len, kept)) + len(following[0]) > 100
    strangers = [story for story, became_websocket in ended if not became_websocket and len(story) > 1]
    assert list(stories.turned_away) == strangers[-3:]
    assert all(stories.find(story.id) is story for story in [*kept, *strangers[-3:]])
    assert len(stories) == len(kept) + len(strangers[-3:])
