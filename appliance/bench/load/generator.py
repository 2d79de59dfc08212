"""The clients of a run: they connect at a rate, and send messages at the times of a schedule."""

import asyncio
import socket
import time
from collections.abc import Sequence
from urllib.parse import urlsplit

from appliance.bench.histogram import Histogram
from appliance.bench.load.client import DueOf, LoadClient, Received
from appliance.bench.load.schedule import Schedule
from appliance.bench.target import BenchFailed, Target
from appliance.bench.wire import LoadIdentity, Tail, message_frame, opening_frame
from appliance.crypto import Verifier
from appliance.ic.principal import Principal

_TICK_S = 0.001
_SMALL_BUFFER = 4096


class LoadRun:
    """The clients of one run and what they receive. The scenario sets ``due_of``."""

    def __init__(self, target: Target, verifier: Verifier, *, seed: bytes) -> None:
        self.received = Received()
        self.verifier = verifier
        self.due_of: DueOf = lambda _: None
        self.sampled_at_ns = 0
        self.clients: list[LoadClient] = []
        self._target = target
        self._seed = seed
        self._identities: dict[int, LoadIdentity] = {}

    def identity(self, number: int) -> LoadIdentity:
        """Return the identity of a client. It is kept, because deriving its key takes longer than signing."""
        return self._identities.setdefault(number, LoadIdentity(self._seed, number))

    def opening(self, client: LoadIdentity, canister_id: Principal) -> bytes:
        """Return the opening frame of a client."""
        return opening_frame(client, canister_id, self._target.principal, time.time_ns())

    async def connect(self, canisters: Sequence[Principal], *, rate: float, patience_s: float = 60.0) -> Histogram:
        """Connect a client to each of these canisters, ``rate`` a second.

        Returns the times from a client's due time to its open session. Raises BenchFailed if one does not get in.
        """
        schedule = Schedule.even(rate, len(canisters) / rate)
        opening, begun = Histogram(), len(self.clients)
        tasks = []
        for number, (canister_id, due_ns) in enumerate(zip(canisters, schedule.due_ns, strict=True)):
            await _until(due_ns)
            tasks.append(asyncio.create_task(self._open(begun + number, canister_id, due_ns, opening)))
        done, waiting = await asyncio.wait(tasks, timeout=patience_s)
        for task in waiting:
            task.cancel()
        problems = [task.exception() for task in done if task.exception() is not None]
        if waiting or problems:
            reason = self.received.closes or problems[:1] or f"no reply within {patience_s:g} s"
            raise BenchFailed(f"{len(waiting) + len(problems)} of {len(tasks)} clients got no session: {reason}")
        return opening

    async def _open(self, number: int, canister_id: Principal, due_ns: int, opening: Histogram) -> None:
        client = await self._connected(number, canister_id, None)
        self.clients.append(client)
        await client.opened
        opening.record(time.monotonic_ns() - due_ns)

    async def connect_slow(self, number: int, canister_id: Principal) -> LoadClient:
        """Connect one client with a small receive buffer, so that the gateway notices soon that it does not read."""
        raw = socket.socket()
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _SMALL_BUFFER)
        raw.setblocking(False)
        await asyncio.get_running_loop().sock_connect(raw, self._address)
        client = await self._connected(number, canister_id, raw)
        self.clients.append(client)
        await client.opened
        return client

    @property
    def _address(self) -> tuple[str, int]:
        parts = urlsplit(self._target.url)
        return parts.hostname or "127.0.0.1", parts.port or 80

    async def _connected(self, number: int, canister_id: Principal, raw: socket.socket | None) -> LoadClient:
        (host, port), path = self._address, urlsplit(self._target.url).path or "/"
        where = {"host": host, "port": port} if raw is None else {"sock": raw}
        if self._target.tls is not None:
            where |= {"ssl": self._target.tls, "server_hostname": host}
        _, client = await asyncio.get_running_loop().create_connection(
            lambda: LoadClient(self, self.identity(number), canister_id, f"{host}:{port}", path),
            **where,
        )
        return client

    def sign(self, canister_id: Principal, count: int, size: int) -> list[bytes]:
        """Return ``count`` messages of the clients in turn as frames, numbered from 0 on."""
        clients, now_ns = len(self.clients), time.time_ns()
        return [
            message_frame(
                self.identity(number % clients),
                canister_id,
                number // clients + 1,
                Tail(number, 0).content(size),
                now_ns,
            )
            for number in range(count)
        ]

    async def send(self, frames: Sequence[bytes], schedule: Schedule) -> None:
        """Send each frame by its client when it is due."""
        senders = sorted(self.clients, key=lambda client: client.number)
        sent = 0
        while sent < len(frames):
            due = schedule.due_by(time.monotonic_ns())
            for number in range(sent, due):
                senders[number % len(senders)].send(frames[number])
            sent = max(sent, due)
            await asyncio.sleep(_TICK_S)

    async def wait_for(self, count: int, *, patience_s: float) -> None:
        """Return when so many messages have arrived, or none has for ``patience_s``."""
        seen, since = self.received.messages, time.monotonic()
        while self.received.messages < count and time.monotonic() - since < patience_s:
            await asyncio.sleep(0.005)
            if self.received.messages != seen:
                seen, since = self.received.messages, time.monotonic()

    def leave(self) -> None:
        """Close every client that is still connected."""
        for client in self.clients:
            if not client.is_leaving:
                client.leave()


async def _until(due_ns: int) -> None:
    left_s = (due_ns - time.monotonic_ns()) / 1e9
    if left_s > _TICK_S:
        await asyncio.sleep(left_s)
