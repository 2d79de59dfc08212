"""What the load generator has the stub IC do, by POST to ``/bench/NAME``: settings, messages, counts."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from typing import Any

from appliance.bench.stub.replica import Response
from appliance.bench.stub.server import Latencies, StubIc
from appliance.bench.wire import Tail
from appliance.ic.principal import Principal


class Commands:
    """The commands, by name. Set as ``StubIc.commands``."""

    def __init__(self, stub: StubIc) -> None:
        self._stub = stub
        self._timers: set[asyncio.TimerHandle] = set()
        self._by_name: dict[str, Callable[..., object]] = {
            "served": self.served,
            "configure": self.configure,
            "prepare": self.prepare,
            "release": self.release,
            "send": self.send,
        }

    def __call__(self, name: str, arguments: dict[str, Any]) -> object:
        """Run a command. Raises ValueError or TypeError if there is no such command, or not with these arguments."""
        if name not in self._by_name:
            raise ValueError(f"there is no command {name!r}")
        return self._by_name[name](**arguments)

    def cancel(self) -> None:
        """Send nothing more."""
        for timer in self._timers:
            timer.cancel()

    def served(self) -> dict[str, int]:
        """Return the counts since the start."""
        return asdict(self._stub.replica.served)

    def configure(self, response: Response, latencies: list[Any]) -> dict[str, str]:
        """Set what canisters do with messages, and the latencies. Returns the root key."""
        self._stub.replica.response = response
        block_s, call_s, query_s, round_trip_s = latencies
        self._stub.latencies = Latencies(block_s, tuple(call_s), tuple(query_s), round_trip_s)
        return {"root_key": self._stub.replica.authority.root_key.hex()}

    def prepare(self, canister: str, pages: int, page_size: int, size: int, *, shared: bool) -> dict[str, int]:
        """Encode pages of messages and hide them until ``release``."""
        replica = self._stub.replica
        prepared = replica.canister(Principal.from_text(canister))
        prepared.page_size = page_size
        certify = partial(replica.certify, bytes(prepared.canister_id))
        return {"messages": prepared.prepare(pages, size, certify, shared=shared, timestamp_ns=time.time_ns())}

    def release(self, canister: str) -> dict[str, int]:
        """Make the prepared pages visible."""
        self._stub.replica.canister(Principal.from_text(canister)).release()
        return {}

    def send(self, canister: str, size: int, due_ns: list[int]) -> dict[str, int]:
        """Send a message at each of these times (ns of the monotonic clock), to the clients in turn."""
        sender = self._stub.replica.canister(Principal.from_text(canister))
        clients = list(sender.sessions)
        for number, due in enumerate(due_ns):
            content = Tail(number, due).content(size)
            self._at(due, partial(self._send, bytes(sender.canister_id), clients[number % len(clients)], content))
        return {"messages": len(due_ns)}

    def _send(self, canister_id: bytes, client: bytes, content: bytes) -> None:
        canister = self._stub.replica.canister(canister_id)
        canister.send(client, content, time.time_ns())
        self._stub.replica.touch(canister)

    def _at(self, due_ns: int, act: Callable[[], None]) -> None:
        def fire() -> None:
            self._timers.discard(timer)
            act()

        delay_s = max(0.0, (due_ns - time.monotonic_ns()) / 1e9)
        timer = asyncio.get_running_loop().call_later(delay_s, fire)
        self._timers.add(timer)
