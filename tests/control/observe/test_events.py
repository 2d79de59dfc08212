import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.control.models import Event
from appliance.control.observe.events import Events, Subscription, as_text

KINDS: list[Any] = ["session.opened", "reload", "drain"]


async def taken(subscription: Subscription, number: int) -> list[Event | None]:
    found = []
    async for event in subscription.events(heartbeat_s=60):
        found.append(event)
        if len(found) == number:
            break
    return found


async def drained(events: Events, subscription: Subscription) -> list[Event]:
    events.close()
    return [event async for event in subscription.events() if event is not None]


@given(st.lists(st.sampled_from(KINDS), max_size=20), st.sets(st.sampled_from(KINDS)) | st.none(), st.integers(0, 25))
async def test_a_subscriber_gets_the_kinds_it_asked_for_in_order(
    kinds: list[Any], wanted: set[str] | None, after: int
) -> None:
    events = Events()
    for kind in kinds[:10]:
        events.publish(kind, {})
    subscription = events.subscribe(wanted, after)
    for kind in kinds[10:]:
        events.publish(kind, {})
    begin = after if after <= min(len(kinds), 10) else 0  # of an earlier process: it knows nothing of ours
    expected = [(n, kind) for n, kind in enumerate(kinds, 1) if n > begin and (wanted is None or kind in wanted)]
    assert [(event.id, event.kind) for event in await drained(events, subscription)] == expected


async def test_without_an_id_only_later_events_are_delivered() -> None:
    events = Events()
    events.publish("reload", {"generation": 1})
    subscription = events.subscribe()
    events.publish("reload", {"generation": 2})
    assert [event.data for event in await drained(events, subscription)] == [{"generation": 2}]


async def test_a_subscriber_that_reconnects_too_late_gets_the_number_of_lost_events() -> None:
    events = Events(recent=3)
    for number in range(10):
        events.publish("reload", {"number": number})
    found = await drained(events, events.subscribe({"reload"}, after=2))
    assert [(event.id, event.kind) for event in found] == [(7, "lost"), (8, "reload"), (9, "reload"), (10, "reload")]
    assert found[0].data == {"events": 5}


async def test_whoever_comes_late_gets_all_that_is_kept_and_the_newest_above_all() -> None:
    events = Events(recent=3, waiting=3)
    for number in range(10):
        events.publish("reload", {"number": number})
    found = await drained(events, events.subscribe(after=0))
    assert [(event.id, event.kind) for event in found] == [(7, "lost"), (8, "reload"), (9, "reload"), (10, "reload")]
    assert found[0].data == {"events": 7}
    assert found[0].at == found[1].at, "what was dropped is no news of now"


async def test_a_slow_subscriber_loses_events_and_knows_how_many_and_others_lose_none() -> None:
    events = Events(waiting=3)
    slow, quick = events.subscribe(), events.subscribe()
    got: list[Event | None] = []
    for number in range(10):
        events.publish("reload", {"number": number})
        got += await taken(quick, 1)
    assert [event.id for event in got if event] == list(range(1, 11))
    found = await taken(slow, 4)
    assert [(event.id, event.kind) for event in found if event] == [
        (1, "reload"),
        (2, "reload"),
        (3, "reload"),
        (10, "lost"),
    ]
    assert found[-1] is not None
    assert found[-1].data == {"events": 7}
    events.publish("drain", {})
    assert [event.id for event in await taken(slow, 1) if event] == [11]


async def test_a_silent_line_is_kept_open() -> None:
    events = Events()
    async for event in events.subscribe().events(heartbeat_s=0):
        assert event is None
        break
    assert as_text(None).startswith(b":")


async def test_who_waits_is_woken() -> None:
    events = Events()
    subscription = events.subscribe()
    waiting = asyncio.create_task(taken(subscription, 1))
    await asyncio.sleep(0)
    events.publish("drain", {"left": 3})
    (event,) = await waiting
    assert event is not None
    assert event.data == {"left": 3}
    ending: AsyncIterator[Event | None] = subscription.events()
    last = asyncio.create_task(anext(ending, "end"))
    await asyncio.sleep(0)
    events.close()
    assert await last == "end"


async def test_after_the_end_nobody_waits() -> None:
    events = Events()
    events.close()
    assert [event async for event in events.subscribe().events()] == []


async def test_subscribers_are_counted() -> None:
    events = Events(subscribers=1)
    assert not events.is_full
    subscription = events.subscribe()
    assert events.is_full
    events.unsubscribe(subscription)
    events.unsubscribe(subscription)
    assert len(events) == 0


@pytest.mark.parametrize("data", [{}, {"text": "line\nbreak\r\n\n: data"}, {"ünï": "\u2028"}])
async def test_an_event_is_three_lines_whatever_it_says(data: dict[str, Any]) -> None:
    events = Events()
    subscription = events.subscribe()
    events.publish("reload", data)
    (event,) = await drained(events, subscription)
    first, second, third, *rest = as_text(event).decode().split("\n")
    assert (first, second, rest) == ("id: 1", "event: reload", ["", ""])
    assert json.loads(third.removeprefix("data: "))["data"] == data
