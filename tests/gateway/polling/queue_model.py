"""A canister with a queue, its clients and the gateway's place in the queue, for tests of `QueuePosition`. No I/O."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from appliance.crypto import encode_cbor
from appliance.gateway.polling.claims import Claims
from appliance.gateway.polling.queue_position import Missing, QueuePosition, Restarted, Taken
from appliance.protocol.frames import binary_frame

Dialect = Literal["v0", "v1", "v2"]
MOST_ASKS = 5


@dataclass(frozen=True)
class Message:
    """``life`` counts the restarts of the canister, ``number`` the messages of one client."""

    life: int
    nonce: int
    client_key: bytes
    number: int
    written_ns: int
    cert: bytes = b""
    problem: str | None = None

    @property
    def timestamp_ns(self) -> int:
        return self.written_ns

    @property
    def service_kind(self) -> None:
        return None

    @property
    def sequence_num(self) -> int:
        return self.number

    @property
    def frame(self) -> bytes:
        content = encode_cbor({"timestamp": self.written_ns, "sequence_num": self.number}, tagged=False)
        value = {"key": f"gateway_{self.nonce:020}", "content": content, "cert": self.cert, "tree": b""}
        return binary_frame(encode_cbor(value, tagged=False))


@dataclass(frozen=True)
class Page:
    messages: Sequence[Message] = ()
    is_end_of_queue: bool = True
    time_ns: int | None = None

    @property
    def is_whole(self) -> bool:
        nonces = [message.nonce for message in self.messages]
        is_consecutive = nonces == list(range(nonces[0], nonces[0] + len(nonces))) if nonces else True
        return is_consecutive and not any(message.problem for message in self.messages)


@dataclass(frozen=True)
class State:
    """What one block of the IC certified: the queue, and the nonce of its first message."""

    time_ns: int = 1
    life: int = 0
    first: int = 0
    queue: tuple[Message, ...] = ()

    def page(self, nonce: int, dialect: Dialect, size: int) -> Page:
        end = self.first + len(self.queue)
        if nonce == 0 and dialect == "v1":
            nonce = max(0, end - size)
        found = [message for message in self.queue if message.nonce >= nonce]
        cert = self.time_ns.to_bytes(8, "big")
        shown = [replace(m, cert=cert) for m in found[:size]]
        is_end = dialect != "v2" or len(shown) == len(found)
        return Page(shown, is_end, self.time_ns if shown else None)


@dataclass
class Client:
    key: bytes
    life: int | None = None
    """In which its opening call was executed."""
    nonce: int = 0
    sent: int = 0
    received: list[Message] = field(default_factory=list)
    is_answered: bool = False
    is_here: bool = True
    told: bool = False


class World:
    """``history`` has every certified state, the newest last."""

    def __init__(self, dialect: Dialect, page_size: int) -> None:
        self.dialect = dialect
        self.page_size = page_size
        self.history = [State()]
        self.clients: list[Client] = []
        self.taken: set[tuple[int, int]] = set()
        self.last_taken = (0, -1)
        self.probes = 0
        self.restarts = 0
        self.claims = Claims()
        self.position = QueuePosition()
        self.position.begin(zero_is_end=dialect == "v1", greets=dialect != "v0")

    @property
    def now(self) -> State:
        return self.history[-1]

    @property
    def here(self) -> list[Client]:
        return [client for client in self.clients if client.is_here]

    # --- the canister -----------------------------------------------------------------------------------------------

    def _become(self, life: int, first: int, queue: tuple[Message, ...]) -> None:
        self.history.append(State(self.now.time_ns + 1, life, first, queue))

    def restart(self) -> None:
        self._become(self.now.life + 1, 0, ())

    def prune(self) -> None:
        """Delete what the gateway has read."""
        now = self.now
        kept = tuple(message for message in now.queue if (message.life, message.nonce) not in self.taken)
        self._become(now.life, now.first + len(now.queue) - len(kept), kept)

    def write(self, client: Client) -> None:
        """The application, or the canister itself, writes to a client that it knows."""
        now = self.now
        client.sent += 1
        nonce = now.first + len(now.queue)
        message = Message(now.life, nonce, client.key, client.sent, now.time_ns + 1)
        self._become(now.life, now.first, (*now.queue, message))

    def knows(self, client: Client) -> bool:
        return client.life == self.now.life

    # --- clients ----------------------------------------------------------------------------------------------------

    def begin(self) -> Client:
        client = Client(f"client {len(self.clients)}".encode())
        self.clients.append(client)
        self.position.opening_began()
        return client

    def execute(self, client: Client) -> None:
        """The canister accepts a client."""
        now = self.now
        client.life, client.nonce = now.life, now.first + len(now.queue) if self.dialect == "v0" else 0
        if self.dialect != "v0":
            self.write(client)

    def answer(self, client: Client) -> None:
        """The gateway learns of it."""
        client.is_answered = True
        self.position.opening_ended()
        if client.is_here and not client.received:
            self.position.accepted(client.key, client.nonce)

    def leave(self, client: Client) -> None:
        client.is_here = False
        self.position.left(client.key)

    def is_open(self, client: Client) -> bool:
        return client.is_answered if self.dialect == "v0" else bool(client.received)

    # --- the gateway ------------------------------------------------------------------------------------------------

    def poll(self, *, behind: int = 0) -> bool:
        """Poll a replica that is so many states behind. Returns whether there was nothing new."""
        state = self.history[max(0, len(self.history) - 1 - behind)]
        ask = self.position.next_ask()
        for _ in range(MOST_ASKS):
            page = state.page(ask.nonce, self.dialect, self.page_size)
            self.probes += ask.purpose == "probe"
            decision = self.position.judge(ask, page)
            if isinstance(decision, Missing):
                if (believed := self.claims.confirm(decision, "replica", 1)) is None:
                    continue
                decision = self.position.judge(ask, page, passing=believed)
            if isinstance(decision, Taken):
                self._deliver(decision)
                return not decision.messages
            if isinstance(decision, Restarted):
                self._restarted(state)
                ask = self.position.next_ask()
            else:
                ask = decision
        raise AssertionError("a poll asks without end")

    def poll_to_end(self) -> None:
        while not self.poll():
            pass

    def _restarted(self, state: State) -> None:
        self.restarts += 1
        assert state.life > self.last_taken[0], "a restart was seen where there was none"
        self.last_taken = (state.life, -1)
        for client in self.here:
            if self.is_open(client) and not self.position.waits(client.key):
                self._tell(client)

    def _tell(self, client: Client) -> None:
        assert not self.knows(client) or self.lost_its_first(client), "a client was told, and the canister knows it"
        client.told = True
        self.leave(client)

    def _deliver(self, taken: Taken) -> None:
        members = {client.key: client for client in self.here}
        for message in taken.messages:
            place = (message.life, message.nonce)
            assert place > self.last_taken, "a message was taken twice, or out of order"
            self.last_taken = place
            self.taken.add(place)
            if (client := members.get(message.client_key)) is not None and message.nonce >= client.nonce:
                self._receive(client, message)
        for key in taken.forgotten:
            if self.position.waits(key):
                self._tell(members[key])

    def _receive(self, client: Client, message: Message) -> None:
        expected = client.received[-1].number + 1 if client.received else 1
        assert message.number == expected or (message.number == 2 and self.lost_its_first(client)), "a message is lost"
        client.received.append(message)
        self.position.delivered(client.key, message.nonce)

    def lost_its_first(self, client: Client) -> bool:
        """Message 0 of a v1 queue that grew beyond a page cannot be asked for."""
        if self.dialect != "v1":
            return False
        zeros = {
            m.client_key for state in self.history if state.life == client.life for m in state.queue if not m.nonce
        }
        return client.key in zeros and (client.life, 0) not in self.taken
