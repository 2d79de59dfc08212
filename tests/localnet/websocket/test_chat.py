from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.localnet.websocket.chat import LOBBY, MAX_LINES, MAX_ROOMS, MAX_TEXT, Chat
from tests.localnet.machine import principal
from tests.localnet.websocket.conversation import ALICE, BOB, GATEWAY, OK
from tests.localnet.websocket.talk import Talk

GUESTS = [principal(f"guest {number}") for number in range(4)]


@pytest.fixture
def talk() -> Talk:
    return Talk(Chat())


def line(text: str, name: str = "ann") -> dict[str, str]:
    return {"name": name, "text": text}


@settings(max_examples=30)
@given(st.lists(st.tuples(st.sampled_from(GUESTS), st.sampled_from(["open", "leave", "/join a", "/join b", "hello"]))))
def test_a_line_is_heard_by_everybody_in_its_room_and_nobody_else(script: list[tuple[Any, str]]) -> None:
    talk, rooms, expected = Talk(Chat()), dict[Any, str](), dict[Any, list[str]]()
    for number, (guest, step) in enumerate(script):
        if step == "open":
            talk.enter(guest)
            rooms[guest], expected[guest] = LOBBY, []
        elif guest not in rooms:
            continue
        elif step == "leave":
            assert talk.close(GATEWAY, guest, talk._nonce[guest]) == OK
            del rooms[guest]
        elif step == "hello":
            talk.say(guest, line(f"hello {number}"))
            for other in [other for other, room in rooms.items() if room == rooms[guest]]:
                expected[other].append(f"hello {number}")
        else:
            talk.say(guest, line(step))
            rooms[guest] = step[-1]
    for guest, texts in expected.items():
        assert [value["text"] for value in talk.heard(guest) if value["name"] != "chat"] == texts
    members = {room["name"]: room["members"] for room in talk.query("rooms", ALICE) if room["members"]}
    assert members == {room: list(rooms.values()).count(room) for room in rooms.values()}


def test_commands_are_answered_to_their_sender_only(talk: Talk) -> None:
    talk.enter(ALICE)
    talk.enter(BOB)
    for text in ("/join den", "/rooms", "/dance"):
        assert talk.say(ALICE, line(text)) == OK
    answers = ["you are in den, with 0 others", "den (1), lobby (1)", "commands are /join ROOM, /rooms and /close"]
    assert talk.heard(ALICE) == [line(answer, "chat") for answer in answers]
    assert talk.heard(BOB) == []


def test_close_closes_the_room(talk: Talk) -> None:
    for guest in GUESTS[:3]:
        talk.enter(guest)
    talk.say(GUESTS[2], line("/join den"))
    talk.say(GUESTS[0], line("/close"))
    assert [talk.is_closed(guest) for guest in GUESTS[:3]] == [True, True, False]
    assert talk.query("rooms", ALICE) == [{"name": "den", "members": 1}, {"name": LOBBY, "members": 0}]


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (line(""), "a line has 1 to 1000 characters"),
        (line("x" * (MAX_TEXT + 1)), "a line has 1 to 1000 characters"),
        (line("hello", ""), "a name has 1 to 32 characters"),
        (line("hello", "x" * 33), "a name has 1 to 32 characters"),
        (line("/join " + "x" * 33), "the name of a room has at most 32 characters"),
    ],
)
def test_every_limit_is_a_sentence(talk: Talk, value: dict[str, str], problem: str) -> None:
    talk.enter(ALICE)
    assert talk.say(ALICE, value) == OK
    assert talk.heard(ALICE) == [line(problem, "chat")]


def test_a_room_keeps_its_last_lines(talk: Talk) -> None:
    talk.enter(ALICE)
    for number in range(MAX_LINES + 3):
        talk.say(ALICE, line(str(number)))
    assert [said["text"] for said in talk.query("lines", BOB, LOBBY)] == [str(n) for n in range(3, MAX_LINES + 3)]
    assert talk.query("lines", BOB, "nowhere") == []


def test_there_are_so_many_rooms(talk: Talk) -> None:
    talk.enter(ALICE)
    for number in range(MAX_ROOMS):
        talk.say(ALICE, line(f"/join room-{number}"))
    assert talk.heard(ALICE)[-1] == line("there are 100 rooms, and not one more", "chat")
    talk.say(ALICE, line("/join room-0"))
    assert talk.heard(ALICE)[-1] == line("you are in room-0, with 0 others", "chat")
