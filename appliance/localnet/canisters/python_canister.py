"""Canisters written in Python: a Candid interface and a Python method for each of its methods."""

import hashlib
import logging
from collections.abc import Callable, Mapping
from typing import TypeVar

from appliance.crypto import CandidInterface, CandidMethod
from appliance.errors import CandidError
from appliance.localnet.canisters.canister import Environment, ExecutionError, MethodNotFound, Trap

T = TypeVar("T")

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


def _decode(decode: Callable[[bytes], tuple[object, ...]], arg: bytes) -> tuple[object, ...]:
    try:
        return decode(arg)
    except CandidError as error:
        raise Trap(f"failed to decode call arguments: {error.problem}") from error


K = TypeVar("K")
V = TypeVar("V")


class UndoLog:
    """Changes attributes and dicts, and can undo the changes since the last ``commit``.

    Undoing costs as much as the execution changed; a copy of the state before each execution would cost as much as the
    canister holds, with thousands of clients in it.
    """

    def __init__(self) -> None:
        self._undo: list[Callable[[], object]] = []

    def commit(self) -> None:
        """Keep the changes."""
        self._undo.clear()

    def roll_back(self) -> None:
        """Undo the changes since the last ``commit``."""
        while self._undo:  # the newest first: the same key may have been changed twice
            self._undo.pop()()

    def set(self, owner: object, attribute: str, value: object) -> None:
        """Set an attribute that exists."""
        before = getattr(owner, attribute)
        self._undo.append(lambda: setattr(owner, attribute, before))
        setattr(owner, attribute, value)

    def put(self, mapping: dict[K, V], key: K, value: V) -> None:
        """Set an item."""
        if key in mapping:
            before = mapping[key]
            self._undo.append(lambda: mapping.__setitem__(key, before))
        else:
            self._undo.append(lambda: mapping.pop(key))
        mapping[key] = value

    def remove(self, mapping: dict[K, V], key: K) -> V:
        """Remove an item and return it. Raises KeyError."""
        value = mapping.pop(key)
        self._undo.append(lambda: mapping.__setitem__(key, value))
        return value
