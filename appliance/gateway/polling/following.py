"""Takes what another node of the gateway got from a canister, instead of asking it."""

from collections.abc import Callable

from appliance.crypto import PollReply
from appliance.gateway.polling.deliveries import Deliveries
from appliance.gateway.polling.queue_position import QueuePosition, Restarted, Taken
from appliance.gateway.polling.reader import QueueReader
from appliance.gateway.sharing import SharedQueue


class Following:
    """The entries of one canister (``sharing``). ``deliver`` passes on the messages of a page."""

    def __init__(
        self,
        shared: SharedQueue,
        reader: QueueReader,
        position: QueuePosition,
        deliveries: Deliveries,
        deliver: Callable[[Taken, int | None], None],
    ) -> None:
        self._shared = shared
        self._reader = reader
        self._position = position
        self._deliveries = deliveries
        self._deliver = deliver

    @property
    def is_enough(self) -> bool:
        """Whether another node asks, and nothing here is for this one to ask: a newcomer's first message, what another
        client may have missed.
        """
        return self._shared.is_followed and self._position.can_share and not self._deliveries.has_suspects

    def wait_s(self, min_interval_s: float) -> float:
        """Seconds from one own poll to the next."""
        return min_interval_s if self._shared.must_ask else self._shared.audit_s

    async def take(self, *, is_alone: bool) -> None:
        """Take the entries that came, up to one that only the canister can explain; all of them where this node cannot
        ask the canister and ``is_alone`` with them.
        """
        while self.is_enough and (is_alone or not self._shared.must_ask):
            if (answer := self._shared.next()) is None:
                return
            try:
                self._judge(await self._reader.read_shared(answer))
            except Exception as error:  # members must not lose their poller to whatever it is
                self._shared.refused(error)

    def _judge(self, page: PollReply) -> None:
        decision = self._position.judge_shared(page)
        if isinstance(decision, Taken):
            self._deliver(decision, page.time_ns)
            self._shared.took(page.messages[-1].nonce + 1)
            return
        if isinstance(decision, Restarted):
            self._deliveries.restarted(decision)
        self._shared.unclear()
