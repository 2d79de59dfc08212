"""The reading side of a connection: when its socket is read, and how many frames are handled in one turn."""

import asyncio
from itertools import islice
from typing import Protocol

from appliance.gateway.sockets.frame_parser import Frame, FrameParser
from appliance.gateway.sockets.frames import FrameSplitter, Part
from appliance.gateway.sockets.turns import Turns

COUNTED_AT_ONCE = 1024
"""Frames that wait and are counted together."""
MOST_AHEAD = 8
"""How often they are counted, which takes a millisecond: a client that has sent more is soon closed."""


class Pause:
    """Reasons not to read a socket, to be combined. Plain numbers: those of ``enum`` cost a microsecond a step, and
    there are many steps in every read.
    """

    NONE = 0
    RELAY = 1
    """The client's messages wait for the IC."""
    MEMORY = 2
    """The gateway holds too many bytes, and this client most of them."""
    TURN = 4
    """The client's frames wait for their turn of the event loop."""
    UPGRADE = 8
    """The answer to the client's request takes time."""
    UNREAD = RELAY | MEMORY
    """Reasons for which frames that were read are not handled either."""


class ReadingOwner(Protocol):
    """The connection, as its reading side uses it."""

    @property
    def has_joined(self) -> bool:
        """Whether the client's opening message was verified."""

    def is_within_budgets(self, part: Part) -> bool:
        """Count bytes of the client; False if they are too many, and the client is closed for it."""

    def handle_frame(self, frame: Frame) -> None:
        """Process a frame. Raises GatewayError."""

    def hold(self, number: int) -> None:
        """Count bytes that are kept for the client, or fewer where negative."""

    def settle(self, *, is_idle: bool) -> None:
        """Write what the library has ready, and see whether the connection ends. ``is_idle`` if no frame waits."""

    def close(self, error: Exception) -> None:
        """Close for this reason."""


class Reading:
    """Passes the bytes of a client to the parser, and its frames to the connection, a few in each turn of the loop."""

    __slots__ = (
        *("_counted", "_counted_ahead", "_frames", "_is_deaf", "_owner", "_parser", "_paused", "_splitter"),
        *("_transport", "_turns"),
    )

    def __init__(self, owner: ReadingOwner, parser: FrameParser, transport: asyncio.Transport, turns: Turns) -> None:
        self._owner = owner
        self._parser = parser
        self._transport = transport
        self._turns = turns
        self._splitter = FrameSplitter()
        self._frames: list[Frame] | tuple[()] = ()  # a list where there are some: even an empty one takes 56 bytes
        self._is_deaf = False
        self._paused = Pause.NONE
        self._counted = 0
        self._counted_ahead = 0
        """Frames that wait and have been counted already."""

    @property
    def is_unread(self) -> bool:
        """Whether nothing of the client is handled, so that its silence means nothing."""
        return bool(self._paused & Pause.UNREAD)

    @property
    def has_work(self) -> bool:
        """Whether frames wait that may be handled (``turns.Worker``)."""
        return self._splitter.is_ready and not self.is_unread

    def receive(self, data: bytes) -> None:
        """Take bytes of the client: they are handled now, or in a later turn."""
        if data and not self._is_deaf:
            self._splitter.feed(data)
            self._turns.serve(self)
            if self.has_work:  # read no more while frames wait that were read before
                self.pause(Pause.TURN)
                self._count_ahead()
            if len(self._splitter):
                self._count()  # what waits for its turn is held meanwhile

    def work(self, frames: int) -> int:
        """Handle at most so many frames; returns how many it handled. Never raises."""
        handled = 0
        try:
            if self._frames:
                self.handle_frames()
            while handled < frames and self._splitter.is_ready and not self._paused & Pause.UNREAD:
                # Singly at first: the opening message decides how large the one after it may be.
                part = self._splitter.take(frames - handled if self._owner.has_joined else 1)
                handled += max(1, part.frames)
                if self._owner.is_within_budgets(self._uncounted(part) if self._counted_ahead else part):
                    self._parser.receive_data(part.data)
                    self.handle_frames()
        except Exception as error:  # whatever it is, it ends this socket and no other
            self._owner.close(error)
        # Also after an error: the client's close frame and the end of its stream are still to be read.
        if self._paused & Pause.TURN and not self.has_work:
            self.resume(Pause.TURN)
        self._count()
        return handled

    def _count_ahead(self) -> None:
        """Count frames when they come: were they counted when they are handled, a gateway with much to do would make a
        flood of them look like the few that it has time for.
        """
        known = self._counted_ahead
        for number in islice(self._splitter.ahead(COUNTED_AT_ONCE), MOST_AHEAD):
            new, known = max(0, number - known), max(0, known - number)
            self._counted_ahead += new
            if new and not self._owner.is_within_budgets(Part(b"", new)):
                return

    def _uncounted(self, part: Part) -> Part:
        """The same bytes with the frames that are still to be counted."""
        known = min(part.frames, self._counted_ahead)
        self._counted_ahead -= known
        return Part(part.data, part.frames - known)

    def _count(self) -> None:
        """Count what was read and is not handled: bytes that wait, those of half a frame, and frames."""
        # A parser that has failed or seen the close frame drops all it gets: a frame that has begun is kept nowhere.
        number = len(self._splitter) if self._parser.eof_sent else self._splitter.kept
        if self._frames:
            number += sum(len(frame.data) for frame in self._frames)
        if number != self._counted:
            self._owner.hold(number - self._counted)
            self._counted = number

    def handle_frames(self) -> None:
        """Handle the frames that are parsed, unless the client is not read. Raises GatewayError."""
        if new := self._parser.events_received():
            self._frames = [*self._frames, *new]
        while self._frames and not self.is_unread:
            frame = self._frames[0]
            self._frames = self._frames[1:] or ()
            self._owner.handle_frame(frame)
        self._owner.settle(is_idle=not self._frames)

    def pause(self, reason: int) -> None:
        """Do not read for this reason."""
        if not self._paused and not self._transport.is_closing():
            self._transport.pause_reading()
        self._paused |= reason

    def resume(self, reason: int) -> bool:
        """Read again, if this was the last reason not to; returns whether frames of the client are handled again."""
        before, self._paused = self._paused, self._paused & ~reason
        is_handled = bool(before & Pause.UNREAD) and not self.is_unread
        if is_handled and (self._frames or self._splitter.is_ready):
            self._paused |= Pause.TURN  # the end of the stream, once read, would drop the frames that waited before it
        if before and not self._paused and not self._transport.is_closing():
            self._transport.resume_reading()
        if is_handled and not self._is_deaf:
            self._turns.later(self)  # not at once: this may be called while a frame is being handled
        return is_handled

    def forget_frames(self) -> None:
        """Do not handle the frames that wait. Those behind them are parsed all the same, for the close frame."""
        self._frames = ()
        self._count()

    def ignore(self) -> None:
        """Look at nothing that the client sends any more, not even for its close frame; but see the end of its side."""
        self._is_deaf = True
        self._frames = ()
        self._splitter.clear()
        self._parser.drop()
        self._count()
        self._turns.forget(self)
        self.resume(~Pause.NONE)
