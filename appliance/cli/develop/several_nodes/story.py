"""The story: what is done to the nodes and to their engine, and what is seen then."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import click

from appliance import task_end
from appliance.cli import loop
from appliance.cli.develop.conditions import describe
from appliance.cli.develop.several_nodes.balancer import PACKAGES
from appliance.cli.develop.several_nodes.clients import PACE_S, Talker
from appliance.cli.develop.several_nodes.findings import Facts, account_table, findings
from appliance.cli.develop.several_nodes.nodes import GIVE_UP_AFTER_S, GatewayNode
from appliance.cli.develop.several_nodes.stage import Stage, Wanted, staged
from appliance.cli.develop.several_nodes.thief import steal
from appliance.cli.output.formatting import counted, duration
from appliance.cli.output.terminal import echo, field_lines, styled, terminal_width, truncated, wrapped
from appliance.localnet.subnet.conditions import Conditions

CLIENTS_PER_NODE = 4
_WIDTH = 80
_LABEL = 10
_TIME = 8
_ANSWERS = 3
"""Of each client, in each part of the story."""
_LAST_ANSWERS_S = 30.0
"""How long answers and close calls may take after the last message. What has none then is lost."""


class Story:
    """Tells as it goes, and collects the facts."""

    def __init__(self, stage: Stage, conditions: Conditions, started: float) -> None:
        self._stage = stage
        self._conditions = conditions
        self._started = started
        self._facts = Facts("", {})
        self._killed_at = 0.0

    async def tell(self) -> bool:
        """All of it. Returns whether every claim holds. Raises ClickException where something does not come about."""
        await self._set_up()
        await self._gather()
        await self._steal()
        await self._kill_a_node()
        await self._speak_for_it()
        await self._bring_it_back()
        await self._cut_the_engine()
        await self._count()
        return self._judge()

    # --- the parts --------------------------------------------------------------------------------------------------

    async def _set_up(self) -> None:
        stage = self._stage
        self._say("Local IC", f"{stage.net.url}: {', '.join(describe(self._conditions))}")
        server = Path(stage.engine.command[0]).name
        self._say("Engine", f"{server}, which the nodes share; it holds nothing that has to last")
        self._say("Nodes", f"{', '.join(stage.nodes)}: each a process of its own, which takes a moment to start")
        await asyncio.gather(*map(stage.start, stage.nodes))
        await stage.until_joined()
        for node in stage.nodes.values():
            self._say(f"Node {node.name}", node.url)
        self._say("", f"one gateway to clients and canisters: {truncated(str(stage.gateway), 21, 'middle')}")
        if stage.balancer is None:
            self._say("HAProxy", f"not installed ({PACKAGES}): each client knows all nodes, and begins at another one")
        else:
            stage.balancer.start({name: node.url for name, node in stage.nodes.items()})
            self._say("HAProxy", f"{stage.balancer.url}: clients know this address only")

    async def _gather(self) -> None:
        stage = self._stage
        count = CLIENTS_PER_NODE * len(stage.nodes)
        for number in range(count):
            stage.talk(f"client {number + 1}")
        await self._until_all(lambda talker: talker.is_open, "all clients have a session")
        self._say("Clients", f"{count} have a session; each sends a message every {PACE_S:g} s")
        await self._some_answers()
        at_node = await self._nodes_of(self._living())
        self._facts.homes = at_node
        self._say("", self._spread(at_node))
        self._facts.victim = sorted(stage.nodes)[1]

    async def _steal(self) -> None:
        stage = self._stage
        first, other, *_ = stage.nodes.values()
        theft = self._facts.theft = await steal(stage.where(first.name), first.url, other.url)
        how = "is let in" if theft.code is None else f"is closed with {theft.code}"
        self._say("A thief", f"sends a copy of the opening message of a client of {first.name} to {other.name}: {how}")

    async def _kill_a_node(self) -> None:
        stage, facts = self._stage, self._facts
        victims = [each for each in stage.talkers if each.name in facts.victims]
        leaving = victims[len(victims) // 2 :]
        for talker in leaving:
            talker.comes_back = False
        facts.gone = [talker.name for talker in leaving]
        stage.nodes[facts.victim].program.kill()
        self._killed_at = time.monotonic()
        self._say(f"kill -9 {facts.victim}", f"the process is gone, with {counted(len(victims), 'session')}")
        await self._until_all(lambda talker: talker not in victims or talker.losses > 0, "its clients have noticed")
        self._say("", f"its clients were told: {victims[0].cause}; {len(leaving)} of them leave for good")
        await self._until_all(lambda talker: talker.has_left or talker.is_open, "its clients have a session again")
        for talker in victims:
            if talker.lost_at is not None and talker.restored_at is not None:
                facts.moved_after_s[talker.name] = talker.restored_at - talker.lost_at
        at_node = await self._nodes_of(self._living())
        self._say("", f"the others are back: {self._spread(at_node)}")
        await self._some_answers()

    async def _speak_for_it(self) -> None:
        stage, facts = self._stage, self._facts
        name, asked = facts.victim, self._living()

        async def was_told() -> bool:
            found = await asked.nodes()
            for node in found.items if found is not None else ():
                if node.name == name and node.given_up_by is not None:
                    facts.speaker, facts.spoken_for = node.given_up_by, node.told or 0
            return facts.spoken_for >= len(facts.victims)

        await stage.until(was_told, f"the canister was told that clients of {name} left", asked.program)
        facts.told_after_s = time.monotonic() - self._killed_at
        self._say(
            f"{facts.speaker} speaks",
            f"for {name}: no heartbeat for {GIVE_UP_AFTER_S:g} s (the default is 30 s), and no answer at its own "
            f"address; the canister was told of {counted(facts.spoken_for, 'client')}",
        )

    async def _bring_it_back(self) -> None:
        stage, facts = self._stage, self._facts
        await stage.start(facts.victim)
        await stage.until_joined()
        self._say(f"Node {facts.victim}", "started again, and has joined")
        await self._until_in_balance(facts.victim)
        newcomers = [stage.talk(f"newcomer {number + 1}", facts.victim) for number in range(len(stage.nodes))]
        await self._until_all(lambda talker: talker.has_left or talker.is_open, "newcomers have a session")
        at_node = await self._nodes_of(stage.nodes[facts.victim])
        facts.returned = sum(at_node.get(each.name) == facts.victim for each in newcomers)
        self._say("", f"{counted(len(newcomers), 'newcomer')}: {self._spread(at_node)}")
        await self._some_answers()
        named = {talker.name: talker.principal for talker in stage.talkers}
        facts.told_of = {name: stage.canister.told_of(named[name]) for name in facts.victims}

    async def _cut_the_engine(self) -> None:
        stage, facts = self._stage, self._facts
        losses = {talker.name: talker.losses for talker in stage.talkers}
        answered = self._answered()
        stage.engine.kill()
        cut_at = time.monotonic()
        self._say("kill -9", "the engine is gone as well, with all that it held")
        for node in self._running():
            await stage.until(partial(_is_away, node), f"node {node.name} notices", node.program)
        self._say("", "the nodes have noticed, and go on alone")
        newcomer = stage.talk("late newcomer")
        await self._until_all(lambda talker: talker.has_left or talker.is_open, "a newcomer has a session")
        await self._some_answers()
        facts.newcomer_after_s = newcomer.opened_after_s
        facts.away_s = time.monotonic() - cut_at
        facts.answered_away = self._answered() - answered
        facts.lost_away = [each.name for each in stage.talkers if each.losses > losses.get(each.name, 0)]
        self._say("", f"{counted(facts.answered_away, 'message')} answered in {duration(facts.away_s)} without it")
        stage.engine.start()
        await stage.until_joined()
        self._say("Engine", "started again, empty; the nodes have joined")
        await self._some_answers()

    async def _count(self) -> None:
        stage, facts = self._stage, self._facts
        for talker in stage.talkers:
            talker.finish()
        await _patiently(lambda: not any(talker.account.pending for talker in stage.talkers))
        self._say("Clients", "have sent their last messages, and leave")
        await stage.end_clients()
        await _patiently(lambda: not stage.canister.connected)
        facts.left = stage.canister.connected
        facts.accounts = {talker.name: talker.account for talker in stage.talkers}
        facts.received = stage.canister.received
        facts.opened = len(stage.canister.opened)
        facts.told = list(stage.canister.told.values())
        facts.disturbed = [each.name for each in stage.talkers if each.losses > (each.name in facts.victims)]
        facts.errors = {talker.name: str(talker.error) for talker in stage.talkers if talker.error is not None}
        self._say("Canister", f"has {counted(facts.left, 'client')}")

    def _judge(self) -> bool:
        width = terminal_width() or _WIDTH
        echo()
        for line in account_table(self._facts, terminal_width()):
            echo(line)
        echo()
        found = list(findings(self._facts))
        for finding in found:
            verdict = styled("holds", fg="green") if finding.holds else styled("FAILS", fg="red", bold=True)
            echo(f"{verdict}  {styled(finding.claim, bold=True)}")
            for line in wrapped(finding.evidence, width - 7):
                echo(f"       {line}")
        return all(finding.holds for finding in found)

    # --- what the parts are made of ---------------------------------------------------------------------------------

    def _say(self, who: str, what: str) -> None:
        elapsed = f"{time.monotonic() - self._started:5.1f} s" if who else ""
        first, *more = wrapped(what, (terminal_width() or _WIDTH) - _TIME - _LABEL - 2)
        label = styled(f"{who:<{_LABEL}}", bold=True) if who else " " * _LABEL
        echo(f"{elapsed:<{_TIME}}{label}  {first}")
        for line in more:
            echo(f"{'':<{_TIME + _LABEL + 2}}{line}")

    def _running(self) -> list[GatewayNode]:
        return [node for node in self._stage.nodes.values() if node.program.is_running]

    def _living(self) -> GatewayNode:
        return self._running()[0]

    def _answered(self) -> int:
        return sum(talker.account.answered for talker in self._stage.talkers)

    async def _until_all(self, condition: Callable[[Talker], bool], what: str) -> None:
        """Wait until something holds for all clients. Raises ClickException, at once where one has ended for good."""

        async def holds() -> bool:
            for talker in self._stage.talkers:
                if talker.error is not None:
                    raise click.ClickException(f"{talker.name} has ended: {talker.error}")
            return all(map(condition, self._stage.talkers))

        await self._stage.until(holds, what)

    @property
    def _talking(self) -> list[Talker]:
        """The clients that have not left."""
        return [talker for talker in self._stage.talkers if not talker.has_left]

    async def _some_answers(self) -> None:
        """Wait until each client has had some more."""
        wanted = {talker.name: talker.account.answered + _ANSWERS for talker in self._talking}
        await self._until_all(
            lambda talker: talker.account.answered >= wanted.get(talker.name, 0), "each client has its answers"
        )

    async def _until_in_balance(self, name: str) -> None:
        """Wait until the balancer uses a node again."""
        balancer = self._stage.balancer
        if balancer is not None:
            await self._stage.until(lambda: balancer.uses(name), f"HAProxy uses node {name}", balancer.program)

    async def _nodes_of(self, asked: GatewayNode) -> dict[str, str]:
        """The node of each client, as the nodes know it: each has a session somewhere."""
        at_node: dict[str, str] = {}
        names = {str(talker.principal): talker.name for talker in self._talking}

        async def found() -> bool:
            at_node.clear()
            for session in await asked.sessions():
                principal = (session.client or "").partition("_")[0]
                if principal in names and session.node is not None:
                    at_node[names[principal]] = session.node
            return len(at_node) == len(names)

        await self._stage.until(found, "the nodes know all clients", asked.program)
        return at_node

    def _spread(self, at_node: Mapping[str, str]) -> str:
        counts = Counter(at_node.values())
        return ", ".join(f"{counts[name]} at {name}" for name in sorted(self._stage.nodes))


async def _patiently(condition: Callable[[], bool]) -> None:
    """Wait until it holds, for `_LAST_ANSWERS_S` at most: what is missing then is counted."""
    give_up_at = time.monotonic() + _LAST_ANSWERS_S
    while not condition():
        if time.monotonic() > give_up_at:
            return
        await asyncio.sleep(0.05)


async def _is_away(node: GatewayNode) -> bool:
    found = await node.nodes()
    return found is not None and found.engine == "away"


async def demonstrate(wanted: Wanted, *, once: bool) -> None:
    """Set everything up and tell the story, then serve until interrupted, unless `once`.

    Raises ClickException where a claim does not hold or something does not come about, Abort where a signal comes
    before the end, and OSError for a port that is taken. All processes have ended then.
    """
    started = time.monotonic()
    with loop.interrupts() as interrupted:
        async with staged(wanted) as stage:
            holds = await _unless(interrupted, Story(stage, wanted.conditions, started).tell())
            if holds and not once:
                _introduce(stage)
                await interrupted.wait()
                echo("\nstopped")
    if not holds:
        raise click.ClickException("not everything was as it has to be")


async def _unless(interrupted: asyncio.Event, telling: Coroutine[Any, Any, bool]) -> bool:
    """Raises Abort where the interrupt comes first."""
    story = asyncio.create_task(telling, name="story")
    interrupt = asyncio.create_task(interrupted.wait(), name="interrupt")
    try:
        await asyncio.wait({story, interrupt}, return_when=asyncio.FIRST_COMPLETED)
        if not story.done():
            raise click.Abort
        return story.result()
    finally:
        await task_end.cancel(story)
        await task_end.cancel(interrupt)


def _introduce(stage: Stage) -> None:
    """What to type while the nodes run."""
    first, other, *_ = stage.nodes.values()
    echo("\nThe nodes keep running; Ctrl-C stops them. From another terminal:\n")
    echo(f"  export ICWS_CONFIG={first.file}")
    pairs = [
        ("icws nodes", "how they are"),
        ("icws sessions", "the sessions of all of them"),
        (f"icws drain start --node {other.name}", "send its clients elsewhere"),
        ("icws reload --cluster", "the configuration, node by node"),
    ]
    for line in field_lines(pairs, max_width=terminal_width(), indent="  "):
        echo(line)
    url = first.url if stage.balancer is None else stage.balancer.url
    echo(f"\n  icws connect {url} \\\n    {stage.canister_id} --network {stage.net.url}\n")
