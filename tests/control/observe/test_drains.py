"""Drains are published of by whoever looks, each step of them once."""

import asyncio
from dataclasses import dataclass, field

from appliance.config.schema import Config
from appliance.control.models import DrainProgress
from appliance.control.observe.drains import Drains
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
    config: Config = field(default_factory=Config)


def drain(clients: int, grace_s: float = 0.0) -> Drain:
    return Drain(lambda: [Client() for _ in range(clients)], RuntimeError, Pacing(10**5, grace_s, 60.0))


def drains_of(gateway: Draining) -> tuple[Drains, list[DrainProgress]]:
    published: list[DrainProgress] = []
    return Drains(gateway, published.append, asyncio.get_running_loop().time), published  # type: ignore[arg-type]


async def test_where_nothing_is_drained_there_is_nothing_to_tell() -> None:
    drains, published = drains_of(Draining())
    drains.publish_changes()
    assert published == []
    assert drains.progress() == DrainProgress(state="none")
    assert drains.progress(CHAT) == DrainProgress(state="none", canister=str(CHAT))
    assert drains.of_canisters() == []


async def test_each_step_is_published_once() -> None:
    gateway = Draining(drain=drain(2))
    drains, published = drains_of(gateway)
    drains.publish_changes()
    drains.publish_changes()
    assert [(each.state, each.canister) for each in published] == [("waiting", None)]
    assert gateway.drain is not None
    await gateway.drain.run()
    drains.publish_changes()
    drains.publish_changes()
    assert [(each.state, each.total, each.closed, each.left) for each in published[1:]] == [("done", 2, 2, 0)]
    gateway.drain = None
    drains.publish_changes()
    assert len(published) == 2


async def test_the_end_of_a_canisters_drain_is_published_though_the_gateway_has_forgotten_it() -> None:
    running = drain(1)
    gateway = Draining(canister_drains={CHAT: running})
    drains, published = drains_of(gateway)
    drains.publish_changes()
    await running.run()
    gateway.canister_drains.clear()
    drains.publish_changes()
    drains.publish_changes()
    assert [(each.state, each.canister) for each in published] == [("waiting", str(CHAT)), ("done", str(CHAT))]


async def test_the_last_drain_is_known_by_its_end_until_the_next_one_begins() -> None:
    gateway = Draining(drain=drain(1), canister_drains={CHAT: drain(1)})
    drains, _ = drains_of(gateway)
    drains.publish_changes()
    for one in (gateway.drain, gateway.canister_drains[CHAT]):
        assert one is not None
        one.cancel()
    drains.publish_changes()
    gateway.drain = None
    gateway.canister_drains.clear()
    assert [drains.progress(each).state for each in (None, CHAT)] == ["cancelled", "cancelled"]
    assert drains.of_canisters() == []
    gateway.drain, gateway.canister_drains[CHAT] = drain(1), drain(1)
    drains.publish_changes()
    assert [drains.progress(each).state for each in (None, CHAT)] == ["waiting", "waiting"]
    for one in (gateway.drain, gateway.canister_drains[CHAT]):
        await one.run()
    drains.publish_changes()
    gateway.drain = None
    gateway.canister_drains.clear()
    assert drains.progress(CHAT).state == "done"
    assert drains.progress().state == "none", "it was cancelled after it was done, and clients are accepted"


async def test_a_drain_that_takes_the_place_of_another_is_another() -> None:
    first = drain(1, grace_s=60)
    gateway = Draining(drain=first)
    drains, published = drains_of(gateway)
    drains.publish_changes()
    first.cancel()
    gateway.drain = drain(1, grace_s=30)
    drains.publish_changes()
    drains.publish_changes()
    assert sorted(each.state for each in published) == ["cancelled", "waiting", "waiting"]
    assert drains.progress().eta_s is not None
    assert 0 < (drains.progress().eta_s or 0) <= 31
