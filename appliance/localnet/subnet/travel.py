"""The way between users and the replicas of a network."""

from appliance.localnet.state.clock import Clock, sleep
from appliance.localnet.subnet.conditions import Conditions
from appliance.localnet.subnet.draws import Draws


class Travel:
    """Delays requests and responses, each by half of a round trip of its own."""

    def __init__(self, conditions: Conditions, clock: Clock) -> None:
        self._round_trip_s = conditions.round_trip_s
        self._draws = Draws(conditions.seed)
        self._clock = clock
        self._count = 0

    async def one_way(self) -> None:
        """Wait as long as a request or a response is on its way."""
        self._count += 1
        round_trip_s = self._draws.uniform(self._round_trip_s, "one way", self._count)
        await sleep(self._clock, round(round_trip_s * 1e9 / 2))
