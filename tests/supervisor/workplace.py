"""A gateway with two workers as real processes, in front of a localnet."""

import asyncio
import os
import re
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from appliance.control.client import Client
from appliance.control.models import Status, Workers
from appliance.control.models import Worker as Shown
from appliance.ic.key_file import load_or_create_identity
from appliance.ic.principal import Principal
from appliance.localnet.net import Localnet
from tests.cli.processes import icws, seen
from tests.gateway.journal.test_crash import Counting

PATIENCE_S = 240


@dataclass
class House:
    """The localnet with a canister of each generation, and the file of the gateway."""

    net: Localnet
    file: Path
    canisters: dict[str, Counting]
    ids: dict[str, Principal]


@dataclass
class Workplace:
    """A running gateway. ``log`` is what it has logged."""

    house: House
    process: asyncio.subprocess.Process
    url: str
    log: list[str] = field(default_factory=list)

    @property
    def api(self) -> Client:
        return Client(f"unix:{self.house.file.parent / 'data/control.sock'}")

    async def ask(self, method: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        """A request to the control plane, which blocks."""
        return await asyncio.to_thread(method, *arguments, **named)

    async def workers(self) -> Workers:
        return await self.ask(self.api.get, Workers, "/v1/workers")

    async def worker(self, number: int) -> Shown:
        return (await self.workers()).items[number - 1]

    async def status(self) -> Status:
        return await self.ask(self.api.get, Status, "/v1/status")

    async def metric(self, name: str) -> float:
        """The value of a sample, with its labels as they are written."""
        for line in (await self.ask(self.api.text, "/metrics")).splitlines():
            if line.startswith(name + " "):
                return float(line.rpartition(" ")[2])
        return 0.0

    def network(self, generation: str) -> Any:
        """What players need to know."""
        return SimpleNamespace(
            localnet=self.house.net,
            canister_id=self.house.ids[generation],
            generation=generation,
            url=f"{self.url}/{generation}",
            listener=SimpleNamespace(url=self.url),
        )

    async def until(self, condition: Callable[[Workers], bool]) -> Workers:
        """Until the workers are so."""
        async with asyncio.timeout(PATIENCE_S):
            while not condition(found := await self.workers()):  # noqa: ASYNC110 - of other processes
                await asyncio.sleep(0.1)
        return found


@contextmanager
def stopped(pid: int | None) -> Iterator[None]:
    """A process that stands still within the block."""
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@asynccontextmanager
async def house(folder: Path, more: str = "") -> AsyncIterator[House]:
    principal = load_or_create_identity(folder / "identity.pem").principal
    async with Localnet() as net:
        canisters = {each: Counting(generation=each, gateway=principal) for each in ("v0", "v2")}
        ids = {each: net.create_canister(canister) for each, canister in canisters.items()}
        listed = ", ".join(f"{{id: {ids[each]}, generation: {each}}}" for each in ids)
        file = folder / "gateway.yaml"
        file.write_text(
            "gateway: {listen: '127.0.0.1:0', identity: identity.pem, workers: 2}\n"
            f"network: {{url: '{net.url}', root_key: {net.root_key.hex()}}}\n"
            "polling: {min_interval: 5ms, max_interval: 50ms}\nverification: {max_query_age: 1h}\n"
            "limits: {held_per_address: {mode: 'off'}}\n"
            "rate_limits: {connections_per_ip: {mode: 'off'}, frames_per_ip: {mode: 'off'}}\n"
            f"cluster: {{claim_timeout: 2s}}\ncanisters: [{listed}]\n{more}"
        )
        yield House(net, file, canisters, ids)


@asynccontextmanager
async def working(at: House) -> AsyncIterator[Workplace]:
    async with icws("run", "--config", str(at.file)) as process:
        text = await seen(process.stderr, "every worker is ready")
        found = re.search(r"url=(wss?://\S+)", text)
        assert found is not None
        place = Workplace(at, process, found[1], text.splitlines())

        async def read() -> None:
            assert process.stderr is not None
            while line := await process.stderr.readline():
                place.log.append(line.decode().rstrip())

        reading = asyncio.ensure_future(read())
        try:
            yield place
            if process.returncode is None:
                process.send_signal(signal.SIGTERM)
                await process.wait()
        finally:
            if process.returncode is None:
                process.kill()
            await reading
