"""The parts of the stage, without nodes; tests/cli/test_process.py runs the whole story."""

import asyncio

import click
import pytest

from appliance.cli.develop.several_nodes import stage as stages
from appliance.cli.develop.several_nodes.stage import Stage, Wanted, staged
from appliance.localnet.subnet.conditions import Conditions
from tests.needs import program


def wanted(*, balancer: str | None = None) -> Wanted:
    return Wanted(program("redis-server"), balancer, 0, 0, Conditions(), 3)


def with_urls(stage: Stage) -> Stage:
    for name, node in stage.nodes.items():
        node.url = f"ws://{name}.test"
    return stage


async def test_without_a_balancer_each_client_begins_at_another_node_and_knows_all():
    async with staged(wanted()) as stage:
        with_urls(stage)
        assert stage.where("b").urls == ["ws://b.test", "ws://c.test", "ws://a.test"]
        assert [talker.where.urls[0] for talker in map(stage.talk, "wxyz")] == [
            f"ws://{name}.test" for name in ["a", "b", "c", "a"]
        ]


async def test_with_a_balancer_clients_know_its_address_only():
    async with staged(wanted(balancer=program("haproxy"))) as stage:
        with_urls(stage)
        assert stage.balancer is not None
        assert stage.where("b").urls == [stage.balancer.url]


async def test_a_balancer_does_not_use_a_node_that_does_not_answer():
    async with staged(wanted(balancer=program("haproxy"))) as stage:
        balancer = stage.balancer
        assert balancer is not None
        assert not await balancer.uses("a")
        balancer.start({"a": "ws://127.0.0.1:1"})

        async def is_up() -> bool:
            return (balancer.url != "") and balancer.program.is_running and await _answers(balancer.url)

        await stage.until(is_up, "HAProxy listens", balancer.program)
        await stage.until(lambda: _not(balancer.uses("a")), "HAProxy has noticed", balancer.program)


async def test_what_a_program_wrote_is_said_where_it_ends_instead_of_starting():
    async with staged(wanted()) as stage:
        stage.nodes["a"].program.command[-1] = "/no/such/file"
        with pytest.raises(click.ClickException, match=r"node a has ended:\n(?s:.*)/no/such/file"):
            await stage.start("a")


async def test_what_does_not_come_about_is_said(monkeypatch):
    monkeypatch.setattr(stages, "PATIENCE_S", 0.0)
    async with staged(wanted()) as stage:
        with pytest.raises(click.ClickException, match="it took more than 0 s until pigs fly"):
            await stage.until(lambda: _not(asyncio.sleep(0, result=True)), "pigs fly")


async def _not(answer) -> bool:
    return not await answer


async def _answers(url: str) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
    except OSError:
        return False
    writer.close()
    return True
