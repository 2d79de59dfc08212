"""The certified state of the replica: one tree, signed once per version and time (interface specification,
"The system state tree" and "Certification").
"""

from collections.abc import Sequence
from functools import cached_property

from appliance.crypto import HashTree, StateTree, encode_certificate
from appliance.localnet.state.certification import Authority, Ranges, leb128
from appliance.localnet.state.clock import Clock

REFRESH_NS = 500_000_000
"""An unchanged state is signed again when its time is older than this, as the IC certifies every block."""

TIME_PATH = (b"time",)
WHOLE_TREE: tuple[bytes, ...] = ()


class StateVersion:
    """One version of the state, which changes no more. It is signed when the first certificate of it is wanted."""

    def __init__(self, authority: Authority, tree: HashTree, *, height: int, time_ns: int) -> None:
        self._authority = authority
        self._tree = tree
        self._certificates: dict[tuple[tuple[bytes, ...], Ranges], bytes] = {}
        self.height = height
        self.time_ns = time_ns

    def certificate(self, paths: Sequence[Sequence[bytes]], ranges: Ranges) -> bytes:
        """A certificate that proves the time, and the values at the paths or their absence."""
        witness = self._tree.witness([TIME_PATH, *paths])
        delegation = self._authority.delegation(ranges, now_ns=self.time_ns)
        return encode_certificate(witness, self._signature, delegation)

    def leaf_certificate(self, path: tuple[bytes, ...], ranges: Ranges) -> bytes:
        """The same for one path, cached: polls ask for the same one many times a second."""
        certificate = self._certificates.get((path, ranges))
        if certificate is None:
            certificate = self._certificates[path, ranges] = self.certificate([path], ranges)
        return certificate

    @cached_property
    def _signature(self) -> bytes:
        return self._authority.sign_state(self._tree.digest)


class CertifiedState:
    """Changed in place, and signed when a certificate is wanted.

    One signature (about a millisecond) serves all readers of one version of the state; a change only marks the latest
    version as old, so that a round of a hundred messages costs one signature instead of hundreds.
    """

    def __init__(self, authority: Authority, clock: Clock) -> None:
        self._authority = authority
        self._clock = clock
        self._tree = StateTree()
        self._time_ns = 0
        self._latest: StateVersion | None = None
        self.height = 0
        for path, value in authority.state.items():
            self.set(path, value)

    def next_time(self) -> int:
        """The time of the next execution: the clock's, but later than the one before, as canisters expect."""
        self._time_ns = max(self._clock.now_ns(), self._time_ns + 1)
        return self._time_ns

    def unmoved_time(self) -> int:
        """The time of a clock that nobody has moved ahead, as most clients have it."""
        return self._clock.now_ns() - self._clock.ahead_ns

    def resume(self, time_ns: int) -> None:
        """Make every later time greater than this one: a restored network must not go back in time."""
        self._time_ns = max(self._time_ns, time_ns)

    def set(self, path: Sequence[bytes], value: bytes) -> None:
        """Set a leaf."""
        self._tree.set(path, value)
        self._latest = None

    def delete(self, path: Sequence[bytes]) -> None:
        """Remove a leaf or a subtree, if it is there."""
        self._tree.delete(path)
        self._latest = None

    def get(self, path: Sequence[bytes]) -> bytes | None:
        """The leaf at a path."""
        return self._tree.get(path)

    def certificate(self, paths: Sequence[Sequence[bytes]], ranges: Ranges) -> bytes:
        """A certificate of the latest state, as `StateVersion.certificate`."""
        return self.latest().certificate(paths, ranges)

    def leaf_certificate(self, path: tuple[bytes, ...], ranges: Ranges) -> bytes:
        """A certificate of the latest state, as `StateVersion.leaf_certificate`."""
        return self.latest().leaf_certificate(path, ranges)

    def latest(self) -> StateVersion:
        """The latest version; a new one where the state has changed, or where its time is too old."""
        if self._latest is None or self._clock.now_ns() - self._latest.time_ns > REFRESH_NS:
            self._latest = self.new_version()
        return self._latest

    def new_version(self) -> StateVersion:
        """The state as it is now, under the next height. Costs one leaf: the two share the rest of the tree."""
        time_ns = self.next_time()
        self._tree.set(TIME_PATH, leb128(time_ns))
        self.height += 1
        self._latest = StateVersion(
            self._authority, self._tree.witness([WHOLE_TREE]), height=self.height, time_ns=time_ns
        )
        return self._latest
