"""Canisters written in Python: a Candid interface and a Python method for each of its methods."""

import hashlib
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple, TypeVar

from appliance.crypto import CandidInterface, CandidMethod
from appliance.errors import CandidError
from appliance.localnet.canisters.canister import Environment, ExecutionError, MethodNotFound, Trap

T = TypeVar("T")

READ_ONLY = "a snapshot executes queries only"

log = logging.getLogger(__name__)


class PythonCanister:
    """Fills `Canister`. A subclass has a Candid text and, by the same name, a Python method for each method in it.

    Such a method takes the environment and the decoded arguments and returns its result, or a tuple of its results
    where there is not exactly one. It changes the canister's state through ``undo_log`` only: an assignment
    past it would survive a trap, which no canister on the IC can see.
    """

    did: str
    """The Candid interface, also served as the metadata ``candid:service``."""

    def __init__(self) -> None:
        self.undo_log = UndoLog()
        self._interface = CandidInterface(self.did)
        self._methods = self._interface.methods

    @property
    def module_hash(self) -> bytes:
        """Of the name of the class, since there is no module of Wasm."""
        return hashlib.sha256(f"{type(self).__module__}.{type(self).__qualname__}".encode()).digest()

    @property
    def metadata(self) -> Mapping[str, bytes]:
        """The Candid interface."""
        return {"candid:service": self.did.encode()}

    def install(self, arg: bytes, env: Environment) -> None:
        """Decode the arguments of the interface and call ``init`` with them."""
        arguments = _decode(self._interface.init.decode, arg) if arg else ()
        self._execute(lambda: self.init(env, *arguments))

    def init(self, env: Environment, *arguments: object) -> None:
        """Called at the installation; does nothing unless a subclass overrides it."""

    def update(self, method: str, arg: bytes, env: Environment) -> bytes:
        """Execute a method of the interface; the changes of a query method are rolled back."""
        declared = self._methods.get(method)
        if declared is None:
            raise MethodNotFound("update", method)
        return self._call(declared, arg, env)

    def query(self, method: str, arg: bytes, env: Environment) -> bytes:
        """Execute a query method of the interface."""
        declared = self._methods.get(method)
        if declared is None or not declared.is_query:
            raise MethodNotFound("query", method)
        return self._call(declared, arg, env)

    def on_timer(self, env: Environment) -> None:
        """Call ``timer``."""
        self._execute(lambda: self.timer(env))

    def timer(self, env: Environment) -> None:
        """Called when the timer is due; does nothing unless a subclass overrides it."""

    def snapshot(self) -> "PythonSnapshot":
        """See `Canister.snapshot`. Costs nothing until a query is executed in it."""
        return PythonSnapshot(self, self.undo_log.position)

    def _call(self, declared: CandidMethod, arg: bytes, env: Environment) -> bytes:
        handler = getattr(self, declared.name)

        def run() -> bytes:
            results = handler(env, *_decode(declared.arguments.decode, arg))
            return env.check_reply(declared.results.encode(*(results if isinstance(results, tuple) else (results,))))

        return self._execute(run, keep=not declared.is_query)

    def _execute(self, run: Callable[[], T], *, keep: bool = True) -> T:
        try:
            result = run()
        except ExecutionError:
            self.undo_log.roll_back()
            raise
        except Exception as error:
            self.undo_log.roll_back()
            log.exception("%s failed", type(self).__name__)
            raise Trap(f"{type(error).__name__}: {error}") from error
        if keep:
            self.undo_log.commit()
        else:
            self.undo_log.roll_back()
        return result


class PythonSnapshot:
    """A Python canister as it was at a position of its undo log. Fills `Canister`, for queries only."""

    def __init__(self, canister: PythonCanister, position: "Position") -> None:
        self._canister = canister
        self._position = position

    @property
    def module_hash(self) -> bytes:
        """As the canister's."""
        return self._canister.module_hash

    @property
    def metadata(self) -> Mapping[str, bytes]:
        """As the canister's."""
        return self._canister.metadata

    def query(self, method: str, arg: bytes, env: Environment) -> bytes:
        """Execute a query method on the state as it was."""
        with self._canister.undo_log.rewound(self._position):
            return self._canister.query(method, arg, env)

    def install(self, arg: bytes, env: Environment) -> None:
        """Raises TypeError."""
        raise TypeError(READ_ONLY)

    def update(self, method: str, arg: bytes, env: Environment) -> bytes:
        """Raises TypeError."""
        raise TypeError(READ_ONLY)

    def on_timer(self, env: Environment) -> None:
        """Raises TypeError."""
        raise TypeError(READ_ONLY)

    def snapshot(self) -> "PythonSnapshot":
        """The same one: it does not change."""
        return self


def _decode(decode: Callable[[bytes], tuple[object, ...]], arg: bytes) -> tuple[object, ...]:
    try:
        return decode(arg)
    except CandidError as error:
        raise Trap(f"failed to decode call arguments: {error.problem}") from error


K = TypeVar("K")
V = TypeVar("V")


class _Change(NamedTuple):
    undo: Callable[[], object]
    redo: Callable[[], object]


class Position:
    """A place in an undo log: the changes of the execution that was committed after it, once there is one.

    Each position leads to the next and none back, so changes are freed with the last snapshot that is older than they.
    """

    __slots__ = ("changes", "next")

    def __init__(self) -> None:
        self.changes: list[_Change] = []
        self.next: Position | None = None

    def changes_since(self) -> list[_Change]:
        """All changes committed after this position, the oldest first."""
        changes: list[_Change] = []
        position: Position | None = self
        while position is not None:
            changes += position.changes
            position = position.next
        return changes


class UndoLog:
    """Changes attributes and dicts, and can undo the changes since the last ``commit``, or show the state before them.

    Undoing costs as much as the execution changed; a copy of the state before each execution would cost as much as the
    canister holds, with thousands of clients in it. ``position`` is that of the last commit.
    """

    def __init__(self) -> None:
        self._uncommitted: list[_Change] = []
        self.position = Position()

    def commit(self) -> None:
        """Keep the changes."""
        if not self._uncommitted:
            return
        before, self.position = self.position, Position()
        before.changes, before.next = self._uncommitted, self.position
        self._uncommitted = []

    def roll_back(self) -> None:
        """Undo the changes since the last ``commit``."""
        while self._uncommitted:  # the newest first: the same key may have been changed twice
            self._uncommitted.pop().undo()

    @contextmanager
    def rewound(self, position: Position) -> Iterator[None]:
        """Inside, everything is as it was at the position. What is changed there must be rolled back there, and no
        other execution may run meanwhile."""
        changes = position.changes_since()
        for change in reversed(changes):
            change.undo()
        try:
            yield
        finally:
            for change in changes:
                change.redo()

    def set(self, owner: object, attribute: str, value: object) -> None:
        """Set an attribute that exists."""
        before = getattr(owner, attribute)
        self._make(lambda: setattr(owner, attribute, before), lambda: setattr(owner, attribute, value))

    def put(self, mapping: dict[K, V], key: K, value: V) -> None:
        """Set an item."""
        if key in mapping:
            before = mapping[key]
            self._make(lambda: mapping.__setitem__(key, before), lambda: mapping.__setitem__(key, value))
        else:
            self._make(lambda: mapping.pop(key), lambda: mapping.__setitem__(key, value))

    def remove(self, mapping: dict[K, V], key: K) -> V:
        """Remove an item and return it. Raises KeyError."""
        value = mapping[key]
        self._make(lambda: mapping.__setitem__(key, value), lambda: mapping.pop(key))
        return value

    def _make(self, undo: Callable[[], object], redo: Callable[[], object]) -> None:
        redo()
        self._uncommitted.append(_Change(undo, redo))
