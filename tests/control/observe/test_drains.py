"""Drains are told of by whoever looks, each step of them once."""

import asyncio
from dataclasses import dataclass, field

from appliance.control.drains import Drains
from appliance.control.models import DrainProgress
from appliance.gateway.drain import Drain, Pacing
from appliance.ic.principal import Principal

CHAT = Principal.from_text("bkyz2-fmaaa-aaaaa-qaaaq-cai")


class Client:
    def fail(self, error: Exception) -> None:
        pass


@dataclass
class Draining:
    """The part of a gateway that is looked at."""

    drain: Drain | None = None
    canister_drains: dict[Principal, Drain] = field(default_factory=dict)


def drain(clients: int, grace_s: float = 0.0) -> Drain:
    return Drain(lambda: [Client() for _ in range(clients)], RuntimeError, Pacing(10**5, grace_s, 60.0))


def looking(gateway: Draining) -> tuple[Drains, list[DrainProgress]]:
    told: list[DrainProgress] = []
    return Drains(gateway, told.append, asyncio.get_running_loop().time), told  # type: ignore[arg-type]


async def test_where_nothing_is_drained_there_is_nothing_to_tell() -> None:
    drains, told = looking(Draining())
    drains.look()
    assert told == []
    assert drains.progress() == DrainProgress(state="none")
    assert drains.progress(CHAT) == DrainProgress(state="none", canister=str(CHAT))
    assert drains.of_canisters() == []


async def test_each_step_is_told_once() -> None:
    gateway = Draining(drain=drain(2))
    drains, told = looking(gateway)
    drains.look()
    drains.look()
    assert [(each.state, each.canister) for each in told] == [("waiting", None)]
    assert gateway.drain is not None
    await gateway.drain.run()
    drains.look()
    drains.look()
    assert [(each.state, each.total, each.closed, each.left) for each in told[1:]] == [("done", 2, 2, 0)]
    gateway.drain = None
    drains.look()
    assert len(told) == 2


async def test_the_end_of_a_canisters_drain_is_told_though_the_gateway_has_forgotten_it() -> None:
    running = drain(1)
    gateway = Draining(canister_drains={CHAT: running})
    drains, told = looking(gateway)
    drains.look()
    await running.run()
    gateway.canister_drains.clear()
    drains.look()
    drains.look()
    assert [(each.state, each.canister) for each in told] == [("waiting", str(CHAT)), ("done", str(CHAT))]


async def test_a_drain_that_takes_the_place_of_another_is_another() -> None:
    first = drain(1, grace_s=60)
    gateway = Draining(drain=first)
    drains, told = looking(gateway)
    drains.look()
    first.cancel()
    gateway.drain = drain(1, grace_s=30)
    drains.look()
    drains.look()
    assert sorted(each.state for each in told) == ["cancelled", "waiting", "waiting"]
    assert drains.progress().eta_s is not None
    assert 0 < (drains.progress().eta_s or 0) <= 31
