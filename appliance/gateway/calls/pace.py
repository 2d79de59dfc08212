"""How far the calls to one canister may overlap, learned from what happens to them. Times are arguments, in seconds."""

import math
from collections import OrderedDict

FIRST_GAP_S = 0.1
SHORTEST_GAP_S = 0.05
LONGEST_GAP_S = 1.0
"""From the news that one replica has accepted a call to the next call. Replicas pass a call on to each other within
tens of milliseconds."""
SHARE_OF_WAY = 0.5
"""The news and the next call are on their way for a round trip together, in which replicas pass the call on, too. Half
of what acceptances took counts for the gap: round trips vary, and a replica may take time before it answers. The
shortest gap stays in any case, because an endpoint decides how long acceptances take."""
GAP_STEP_S = 0.0002
FIRST_HOLD_S = 60.0
LONGEST_HOLD_S = 600.0
HOLD_STEP_S = 0.1
"""How long calls go one after the other when an order was lost; twice as long each time in a row."""
SMOOTHING = 0.125
"""The weight of a new measurement, as in TCP's round-trip estimate (RFC 6298)."""
REMEMBERED_CANISTERS = 4096


class Pace:
    """The pace of one canister, for all its clients.

    Additive increase, multiplicative decrease: each call that overlapped another and was answered well shortens the gap
    by ``GAP_STEP_S`` and widens the window by its share of one; a lost order doubles the gap and lets calls go one at a
    time for ``FIRST_HOLD_S``, after which the window begins at two.
    """

    __slots__ = ("_accept_s", "_call_s", "_gap_s", "_hold_s", "_one_until", "_window", "lost")

    def __init__(self) -> None:
        self._gap_s = FIRST_GAP_S
        self.lost = 0
        self._window = math.inf  # nothing is known against the configured window until an order is lost
        self._hold_s = FIRST_HOLD_S
        self._one_until = -math.inf
        self._call_s = 0.0
        self._accept_s = 0.0

    @property
    def gap_s(self) -> float:
        """From the news that a call was accepted to the next call."""
        return max(SHORTEST_GAP_S, self._gap_s - SHARE_OF_WAY * self._accept_s)

    def limit(self, now: float, most: int) -> int:
        """How many calls of one client may be under way, ``most`` by configuration."""
        return 1 if now < self._one_until else int(min(self._window, most))

    def accepted(self, took_s: float) -> None:
        """A call was accepted so long after it was sent."""
        self._accept_s = _smooth(self._accept_s, took_s)

    def settled(self, took_s: float, *, was_alone: bool) -> None:
        """A call was answered well, so long after its turn began."""
        self._call_s = _smooth(self._call_s, took_s)
        if not was_alone:
            self._gap_s = max(SHORTEST_GAP_S, self._gap_s - GAP_STEP_S)
            self._hold_s = max(FIRST_HOLD_S, self._hold_s - HOLD_STEP_S)
            self._window += 1 / self._window

    def lost_order(self, now: float) -> None:
        """The canister received the calls of a client in another order than they were sent in."""
        if now < self._one_until:
            return  # calls of other clients that were under way together with the first: one event, one decrease
        self.lost += 1
        self._gap_s = min(LONGEST_GAP_S, 2 * self._gap_s)
        self._window = 2.0
        self._one_until = now + self._hold_s
        self._hold_s = min(LONGEST_HOLD_S, 2 * self._hold_s)

    def wait_s(self, waiting: int, now: float, most: int) -> float:
        """About how long so many calls of one client take until all are sent; 0 before anything was measured."""
        limit = self.limit(now, most)
        each_s = self._call_s if limit == 1 else max(self._accept_s + self.gap_s, self._call_s / limit)
        return waiting * each_s if self._call_s else 0.0


class Paces:
    """The pace of every canister that was called lately."""

    def __init__(self) -> None:
        self._paces: OrderedDict[bytes, Pace] = OrderedDict()
        self.orders_lost = 0
        """Clients whose messages a canister received in another order than they were sent in."""

    def lost_order(self, canister_id: bytes, now: float) -> None:
        """Count a lost order, and slow down its canister."""
        self.orders_lost += 1
        self.of(canister_id).lost_order(now)

    def of(self, canister_id: bytes) -> Pace:
        """The pace of a canister. One that was not called for long begins anew."""
        pace = self._paces.get(canister_id)
        if pace is None:
            pace = self._paces[canister_id] = Pace()
            if len(self._paces) > REMEMBERED_CANISTERS:
                self._paces.popitem(last=False)
        else:
            self._paces.move_to_end(canister_id)
        return pace


def _smooth(before: float, measured: float) -> float:
    return before + SMOOTHING * (measured - before) if before else measured
