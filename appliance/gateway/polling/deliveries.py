"""Passes the messages of one canister on to its members, and closes those that missed some."""

from collections.abc import Callable, Iterable, Mapping

import structlog

from appliance.errors import CanisterForgot, CanisterSilent, MessagesLost
from appliance.gateway.hub import Member
from appliance.gateway.polling.heartbeat import Heartbeat
from appliance.gateway.polling.page import Message
from appliance.gateway.polling.queue_position import QueuePosition, Restarted, Taken
from appliance.gateway.recording.measurements import Counters
from appliance.gateway.recording.timeline import PollRecord
from appliance.ic.principal import Principal

_log = structlog.get_logger(__name__)

CHECK_NS = 10**9
"""Between two checks of all clients of a canister for silence."""


class Deliveries:
    """The members of a canister as its poller sees them.

    Where messages are missing from the queue nobody knows whose they were. Every client that the canister knew then is
    a *suspect*. Its next message has the number that shows whether it missed one; whoever has got no message when the
    end of the queue is reached may have, and is closed with a code that says "come back".
    """

    def __init__(
        self,
        canister_id: Principal,
        members: Callable[[], Mapping[bytes, Member]],
        position: QueuePosition,
        *,
        counters: Counters,
        heartbeat: Heartbeat,
        max_silence_s: Callable[[], float | None],
        clock: Callable[[], int],
    ) -> None:
        """``clock`` is ns since 1970."""
        self._canister_id = canister_id
        self._members = members
        self._position = position
        self._counters = counters
        self._heartbeat = heartbeat
        self._max_silence_s = max_silence_s
        self._clock = clock
        self._checked_ns = 0
        self._suspects: set[bytes] = set()
        self._clears_from = 0
        """A message clears a suspect from this nonce on: it is behind all that is missing."""

    def deliver(self, taken: Taken, polled: PollRecord, certified_ns: int | None = None) -> int:
        """Pass new messages on, of a reply that the IC certified then, None where nothing is verified. Returns how many
        were delivered.
        """
        counters, position, members, heartbeat = self._counters, self._position, self._members(), self._heartbeat
        delivered, received, is_awaited = 0, list[bytes](), position.is_awaited
        for message in taken.messages:
            nonce, key = message.nonce, message.client_key
            member = members.get(key)
            if member is None:
                counters.undeliverable += 1
                continue
            if is_awaited:
                position.delivered(key, nonce)
            if message.problem is not None:
                self._unreadable(message, member, message.problem)
                continue
            if message.sequence_num == 1 and not self._may_begin(member, message, certified_ns):
                counters.undeliverable += 1
                continue
            received.append(key)
            if message.service_kind == "ack":
                heartbeat.acknowledged(message.timestamp_ns)
            if not member.deliver(message.frame, nonce, message.sequence_num, polled):
                counters.undeliverable += 1
                continue
            delivered += 1
            if self._suspects and nonce >= self._clears_from:
                self._suspects.discard(key)
        heartbeat.received_all(received, self._clock())
        if taken.forgotten:
            self._fail([key for key in taken.forgotten if position.waits(key)], self._forgot)
        counters.delivered += delivered
        counters.repeated += taken.repeated
        return delivered

    @staticmethod
    def _may_begin(member: Member, message: Message, certified_ns: int | None) -> bool:
        return certified_ns is None or member.begins_with(message.timestamp_ns, certified_ns)

    def _unreadable(self, message: Message, member: Member, problem: str) -> None:
        """Close the client of a message that the canister certified and that does not decode."""
        self._counters.lost += 1
        _log.warning("a message does not decode", canister=str(self._canister_id), nonce=message.nonce, cause=problem)
        member.fail(MessagesLost(str(self._canister_id)))

    def missed(self, messages: int, next_nonce: int) -> None:
        """Messages before this nonce are lost, and they may have been for any client that the canister knew."""
        self._counters.gaps += 1
        self._counters.lost += messages
        _log.warning("messages are missing", canister=str(self._canister_id), messages=messages)
        waits = self._position.waits
        self._suspects |= {key for key, member in self._members().items() if member.is_open or waits(key)}
        self._clears_from = next_nonce

    @property
    def has_suspects(self) -> bool:
        """Whether clients wait for the end of the queue, or their next message, to show what they missed."""
        return bool(self._suspects)

    def reached_end(self) -> None:
        """The end of the queue was reached: close the suspects that got no message."""
        if not self._suspects:
            return
        suspects, self._suspects = self._suspects, set()
        self._fail(suspects, lambda: MessagesLost(str(self._canister_id)))

    def accepted(self, client_key: bytes) -> None:
        """The canister accepted a client: its silence begins."""
        self._heartbeat.received(client_key, self._clock())

    def left(self, client_key: bytes) -> None:
        """A client is gone."""
        self._heartbeat.left(client_key)

    def polls_resumed(self) -> None:
        """Polls go well again, or for the first time."""
        self._heartbeat.resumed(self._clock())

    def close_silent(self) -> None:
        """Close the clients that got no message for too long."""
        now_ns = self._clock()
        if now_ns - self._checked_ns < CHECK_NS:
            return
        self._checked_ns, members, max_silence_s = now_ns, self._members(), self._max_silence_s()
        max_silence_ns = None if max_silence_s is None else round(max_silence_s * 1e9)
        for key, silent_ns in self._heartbeat.silent(now_ns, max_silence_ns).items():
            if (member := members.get(key)) is None:
                self._heartbeat.left(key)
            elif member.is_open:
                member.fail(CanisterSilent(str(self._canister_id), silent_ns))

    def restarted(self, restart: Restarted) -> None:
        """Close the clients that the canister forgot."""
        self._counters.resets += 1
        _log.warning("canister restarted its queue", canister=str(self._canister_id))
        waits = self._position.waits
        forgotten = [key for key, member in self._members().items() if member.is_open and not waits(key)]
        if restart.is_certified:
            self.forgotten(forgotten)
        else:
            self._fail(forgotten, self._forgot)

    def forgotten(self, client_keys: Iterable[bytes]) -> None:
        """Close clients that the canister does not know any more, as it has certified."""
        for member in self._of(client_keys):
            member.forgotten(self._forgot())

    def _forgot(self) -> CanisterForgot:
        return CanisterForgot(str(self._canister_id))

    def _fail(self, client_keys: Iterable[bytes], reason: Callable[[], Exception]) -> None:
        for member in self._of(client_keys):
            member.fail(reason())

    def _of(self, client_keys: Iterable[bytes]) -> list[Member]:
        """The members with these keys. A list: a member that is closed leaves, and with it its key."""
        members = self._members()
        return [members[key] for key in client_keys if key in members]
