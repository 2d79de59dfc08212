"""Chat rooms: an example to talk to, with two browser tabs, with bots or from a shell.

Who opens a connection is in the room ``lobby``. A line goes to everybody in the room, its sender too. Lines that begin
with a slash are commands, which the canister answers itself: ``/join ROOM``, ``/rooms``, and ``/close``, which closes
the connections of everybody in the room.
"""

from typing import ClassVar, TypedDict

from appliance.localnet.canisters.canister import Environment
from appliance.localnet.websocket.candid_canister import CandidCanister
from appliance.localnet.websocket.canister import Client

LOBBY = "lobby"
CANISTER_NAME = "chat"
"""The name in the lines of the canister itself."""
MAX_ROOMS = 100
MAX_NAME = 32
MAX_TEXT = 1000
MAX_LINES = 50
"""Of a room, for ``lines``; the oldest are dropped."""


class Line(TypedDict):
    """A line in a room. ``name`` is what its sender calls himself; nobody checks it."""

    name: str
    text: str


class RoomSummary(TypedDict):
    """A room in the list of ``rooms``."""

    name: str
    members: int


class Chat(CandidCanister):
    """Rooms come into being when somebody joins them, and keep their last lines."""

    app_message: ClassVar[str] = "record { name : text; text : text }"
    methods: ClassVar[str] = (
        "rooms : () -> (vec record { name : text; members : nat64 }) query;\nlines : (text) -> (vec AppMessage) query;"
    )

    def init(self, env: Environment, *arguments: object) -> None:
        """Start with an empty lobby."""
        super().init(env, *arguments)
        self._rooms: dict[Client, str] = {}
        self._lines: dict[str, tuple[Line, ...]] = {LOBBY: ()}

    def on_open(self, env: Environment, client: Client) -> None:
        """Enter the lobby."""
        self.undo_log.put(self._rooms, client, LOBBY)

    def on_close(self, env: Environment, client: Client) -> None:
        """Leave."""
        # A client that opens again is closed for its older connection first, and may then be in no room any more.
        if client in self._rooms:
            self.undo_log.remove(self._rooms, client)

    def on_value(self, env: Environment, client: Client, value: Line) -> None:
        """Pass the line on, or act on the command."""
        problem = _problem(value)
        if problem:
            self._answer(env, client, problem)
        elif value["text"].startswith("/"):
            self._command(env, client, value["text"])
        else:
            self._say(env, self._rooms[client], value)

    def rooms(self, env: Environment) -> list[RoomSummary]:
        """Each room and how many are in it."""
        return [RoomSummary(name=room, members=len(self._members(room))) for room in sorted(self._lines)]

    def lines(self, env: Environment, room: str) -> list[Line]:
        """The last lines of a room, the oldest first; none where there is no such room."""
        return list(self._lines.get(room, ()))

    def _command(self, env: Environment, client: Client, text: str) -> None:
        match text.split():
            case ["/join", room]:
                self._join(env, client, room)
            case ["/rooms"]:
                rooms = ", ".join(f"{room['name']} ({room['members']})" for room in self.rooms(env))
                self._answer(env, client, rooms)
            case ["/close"]:
                for member in self._members(self._rooms[client]):
                    self.close(env, member)
            case _:
                self._answer(env, client, "commands are /join ROOM, /rooms and /close")

    def _join(self, env: Environment, client: Client, room: str) -> None:
        if len(room) > MAX_NAME:
            return self._answer(env, client, f"the name of a room has at most {MAX_NAME} characters")
        if room not in self._lines:
            if len(self._lines) == MAX_ROOMS:
                return self._answer(env, client, f"there are {MAX_ROOMS} rooms, and not one more")
            self.undo_log.put(self._lines, room, ())
        self.undo_log.put(self._rooms, client, room)
        return self._answer(env, client, f"you are in {room}, with {len(self._members(room)) - 1} others")

    def _say(self, env: Environment, room: str, line: Line) -> None:
        self.undo_log.put(self._lines, room, (*self._lines[room], line)[-MAX_LINES:])
        for member in self._members(room):
            self.send_value(env, member, line)

    def _answer(self, env: Environment, client: Client, text: str) -> None:
        self.send_value(env, client, Line(name=CANISTER_NAME, text=text))

    def _members(self, room: str) -> list[Client]:
        return [client for client, its_room in self._rooms.items() if its_room == room]


def _problem(line: Line) -> str:
    if not 0 < len(line["name"]) <= MAX_NAME:
        return f"a name has 1 to {MAX_NAME} characters"
    if not 0 < len(line["text"]) <= MAX_TEXT:
        return f"a line has 1 to {MAX_TEXT} characters"
    return ""
