"""The conditions of a local network: how its replicas and the way to them behave."""

from dataclasses import dataclass, replace
from typing import Self

from appliance.localnet.subnet.draws import Span

SYNC_CALL_WAIT_S = 10.0
"""How long a call of v3 or v4 waits for its outcome on the IC before it is answered with 202."""


@dataclass(frozen=True)
class Conditions:
    """Times in seconds, spans as (least, greatest). The defaults are a network of one replica that does all at once.

    ``block_time_s``: time between two blocks; calls are executed and certified in blocks, with 0 when they arrive.
    ``replicas``: how many the subnet has; each request meets a random one, which may not have met any before.
    ``gossip_s``: time until a call that one replica has received is known to another.
    ``lag_blocks``: how many blocks a replica may be behind the latest certified state.
    ``round_trip_s``: time that a request and its response are on their way, together.
    ``call_wait_s``: how long a call of v3 or v4 waits for its outcome before it is answered with 202.
    ``subnet``: whether the root key delegates to a key of the subnet, as on the mainnet.
    ``seed``: decides everything that is random.

    Raises ValueError for values that no network has.
    """

    block_time_s: float = 0.0
    replicas: int = 1
    gossip_s: Span = (0.0, 0.0)
    lag_blocks: float = 0.0
    round_trip_s: Span = (0.0, 0.0)
    call_wait_s: float = SYNC_CALL_WAIT_S
    subnet: bool = True
    seed: bytes = b""

    def __post_init__(self) -> None:
        for name in ("block_time_s", "lag_blocks", "call_wait_s"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} is {getattr(self, name)}, it must not be negative")
        for name in ("gossip_s", "round_trip_s"):
            low, high = getattr(self, name)
            if not 0 <= low <= high:
                raise ValueError(f"{name} is {low} to {high}, it must begin at 0 or above and not end before")
        if self.replicas < 1:
            raise ValueError(f"replicas is {self.replicas}, a subnet has at least 1")
        needs_blocks = self.replicas > 1 or self.gossip_s[1] or self.lag_blocks
        if needs_blocks and not self.block_time_s:
            raise ValueError("several replicas, gossip and lag need a block time: without one there are no blocks")

    @classmethod
    def like_mainnet(cls, seed: bytes = b"") -> Self:
        """A subnet of 13 replicas, with what a client of the mainnet has to expect."""
        return cls(
            block_time_s=1.0,
            replicas=13,
            gossip_s=(0.020, 0.080),
            lag_blocks=2.0,
            round_trip_s=(0.080, 0.120),
            seed=seed,
        )

    def faster(self, factor: float) -> Self:
        """The same with every time divided. Times of canisters and of clients, such as expiries, stay as they are."""
        return replace(
            self,
            block_time_s=self.block_time_s / factor,
            gossip_s=_divided(self.gossip_s, factor),
            round_trip_s=_divided(self.round_trip_s, factor),
            call_wait_s=self.call_wait_s / factor,
        )

    @property
    def has_blocks(self) -> bool:
        """Whether calls wait for blocks."""
        return self.block_time_s > 0


def _divided(span: Span, divisor: float) -> Span:
    return span[0] / divisor, span[1] / divisor
