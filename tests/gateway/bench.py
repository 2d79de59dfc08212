"""A gateway on the bench: no sockets, no clock; peers with shells that remember what happened to them."""

import asyncio
import time
from collections.abc import Callable
from typing import Any, Self

from appliance.config.schema import Config
from appliance.crypto import Verifier
from appliance.gateway.gateway import Gateway
from appliance.gateway.journal.journal import Journal
from appliance.gateway.nodes import Nodes
from appliance.gateway.outbox import Outbox
from appliance.gateway.peer import Peer
from appliance.gateway.polling.budget import PollBudget
from appliance.gateway.polling.heartbeat import Heartbeat
from appliance.gateway.polling.poller import Poller
from appliance.protocol.session import Generation
from tests.gateway.clients import CANISTER, GATEWAY, Client
from tests.gateway.fake_ic import ROOT, FakeCanister, FakeIc

POLLING = Config().polling


def plain_poller(generation: Generation, **options: Any) -> Poller:
    """A poller as it is configured by default, with a budget that is never short and a back-off without chance."""
    return Poller(
        CANISTER,
        generation,
        polling=POLLING,
        budget=PollBudget(10_000),
        heartbeat=Heartbeat(),
        jitter=lambda: 0.0,
        **options,
    )


class ManualWakeUp:
    """A wake-up without a clock: a wait ends by ``set`` or by ``tick``. ``waits`` holds every wait in seconds."""

    def __init__(self) -> None:
        self.waits: list[float] = []
        self._is_set = False
        self._event = asyncio.Event()

    def set(self) -> None:
        self._is_set = True
        self._event.set()

    def tick(self) -> None:
        self._event.set()

    async def wait(self, seconds: float) -> bool:
        self.waits.append(seconds)
        if seconds > 0 and not self._is_set:
            self._event.clear()
            await self._event.wait()
        await asyncio.sleep(0)
        was_set, self._is_set = self._is_set, False
        return was_set


class Wire:
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        self.written: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.written.append(data)


class Shell:
    """The connection of a peer, without a socket. Closing it is leaving, as it is for a real one in the end."""

    def __init__(self, gateway: Gateway, *, outbox: int = 1 << 20) -> None:
        self.gateway = gateway
        self.wire = Wire()
        self.error: Exception | None = None
        self.was_opened = False
        self.is_gone = False
        self.is_read = True
        self.peer = Peer(
            gateway.session("v2"),
            Outbox(self.wire, outbox),
            connection=self,
            services=gateway,
        )
        self.peer.connect()

    def close(self, error: Exception) -> None:
        if self.error is None:
            self.error = error
            asyncio.get_running_loop().call_soon(self.lose)

    def lose(self) -> None:
        """The socket is gone."""
        if not self.is_gone:
            self.is_gone = True
            self.gateway.leave(self.peer)

    def hold(self, number: int) -> None:
        """Bytes are not counted on the bench."""

    def pause_reading(self) -> None:
        self.is_read = False

    def resume_reading(self) -> None:
        self.is_read = True

    def joined(self) -> None:
        pass

    def opened(self) -> None:
        self.was_opened = True

    def receive(self, frame: bytes) -> None:
        """As the connection does: what is raised closes."""
        try:
            self.peer.receive(frame, now_ns=time.time_ns())
        except Exception as error:
            self.close(error)


class Bench:
    """One gateway, one fake IC with one canister, and the shells that were connected."""

    def __init__(
        self, *, journal: Journal | None = None, ic: FakeIc | None = None, nodes: Nodes | None = None, **config: object
    ) -> None:
        """``ic`` is another IC than that of ``canister``."""
        self.canister = FakeCanister(CANISTER, GATEWAY)
        self.ic = ic or FakeIc(self.canister)
        self.wake_ups: list[ManualWakeUp] = []
        self.shells: list[Shell] = []
        settings = {"canisters": [{"id": str(CANISTER)}], **config}
        self.gateway = Gateway(
            Config.model_validate(settings),
            ic=self.ic,
            verifier=Verifier(ROOT.public_key),
            principal=GATEWAY,
            wake_up=self._wake_up,
            journal=journal,
            nodes=nodes,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for shell in self.shells:
            shell.lose()
        await self.gateway.stop()
        assert len(self.gateway.hub) == 0
        assert len(self.gateway.tasks) == 0
        assert self.gateway.pending_close_calls == 0
        assert not self.gateway.pollers
        assert asyncio.all_tasks() == {asyncio.current_task()}

    def connect(self, **options: int) -> Shell:
        shell = Shell(self.gateway, **options)
        self.shells.append(shell)
        return shell

    async def opened(self, client: Client | None = None, **options: int) -> tuple[Client, Shell]:
        """A client whose session is open."""
        client = client or Client()
        shell = self.connect(**options)
        shell.receive(client.open())
        await until(lambda: shell.was_opened or shell.error)
        assert shell.error is None
        return client, shell

    def _wake_up(self) -> ManualWakeUp:
        self.wake_ups.append(ManualWakeUp())
        return self.wake_ups[-1]


async def until(condition: Callable[[], object]) -> None:
    """Let everything else run until the condition holds.

    The limit is by the machine's clock, not by the loop's, which may stand still (``tests.gateway.clock``).
    """
    give_up_at = time.monotonic() + 30
    while not condition():
        if time.monotonic() > give_up_at:
            raise TimeoutError("the condition never held")
        await asyncio.sleep(0)
