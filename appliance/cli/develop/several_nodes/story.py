"""The story: what is done to the nodes and to their engine, and what is seen then."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping

import click

from appliance.cli import loop
from appliance.cli.develop.conditions import describe
from appliance.cli.develop.several_nodes.clients import PACE_S, Talker
from appliance.cli.develop.several_nodes.findings import Facts, account_table, findings
from appliance.cli.develop.several_nodes.nodes import GIVE_UP_AFTER_S, GatewayNode
from appliance.cli.develop.several_nodes.stage import Stage, Wanted, staged
from appliance.cli.output.formatting import counted, duration
from appliance.cli.output.terminal import echo, field_lines, styled, terminal_width, wrapped
from appliance.localnet.subnet.conditions import Conditions

CLIENTS_PER_NODE = 4
_WIDTH = 80
_LABEL = 10
_TIME = 8
_ANSWERS = 3
"""Of each client, in each part of the story."""
_LAST_ANSWERS_S = 30.0
"""How long answers may take after the last message. What has none then is lost."""


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
        await self._kill_a_node()
        await self._speak_for_it()
        await self._cut_the_engine()
        await self._bring_back()
        await self._count()
        return self._judge()

    # --- the parts --------------------------------------------------------------------------------------------------

    async def _set_up(self) -> None:
        stage = self._stage
        self._say("Local IC", f"{stage.net.url}: {', '.join(describe(self._conditions))}")
        self._say("Engine", "a Redis that the nodes share; it holds nothing that has to last")
        await asyncio.gather(*map(stage.start, stage.nodes))
        await stage.until_joined()
        for node in stage.nodes.values():
            self._say(f"Node {node.name}", f"{node.url}, a process of its own")
        self._say("", f"one gateway to clients and canisters: {stage.gateway}")
        if stage.balancer is None:
            self._say("HAProxy", "not installed: each client knows all nodes, and begins at another one")
        else:
            stage.balancer.start({name: node.url for name, node in stage.nodes.items()})
            self._say("HAProxy", f"{stage.balancer.url}: clients know this address only")

    async def _gather(self) -> None:
        stage = self._stage
        count = CLIENTS_PER_NODE * len(stage.nodes)
        talkers = [stage.talk(f"client {number + 1}") for number in range(count)]
        await self._until_all(lambda talker: talker.is_open, "all clients have a session")
        self._say("Clients", f"{count} have a session; each sends a message every {PACE_S:g} s")
        await self._some_answers(talkers)
        at_node = await self._nodes_of(next(iter(stage.nodes.values())), talkers)
        self._facts.homes = at_node
        self._say("", self._spread(at_node))
        self._facts.victim = sorted(stage.nodes)[1]

    async def _kill_a_node(self) -> None:
        stage, facts = self._stage, self._facts
        victims = [each for each in stage.talkers if each.name in facts.moved]
        others = [each for each in stage.talkers if each not in victims]
        stage.nodes[facts.victim].program.kill()
        self._killed_at = time.monotonic()
        self._say(f"kill -9 {facts.victim}", f"the process is gone, with {counted(len(victims), 'session')}")
        await self._until_all(lambda talker: talker not in victims or talker.losses > 0, "its clients have noticed")
        self._say("", f"its clients were told: {victims[0].cause}")
        await self._until_all(lambda talker: talker.is_open, "its clients have a session again")
        for talker in victims:
            assert talker.lost_at is not None and talker.restored_at is not None  # noqa: S101, PT018 - as awaited
            facts.moved_after_s[talker.name] = talker.restored_at - talker.lost_at
        at_node = await self._nodes_of(self._living(), stage.talkers)
        self._say("", f"all of them are back: {self._spread(at_node)}")
        await self._some_answers(stage.talkers)
        facts.disturbed = [talker.name for talker in others if talker.losses]

    async def _speak_for_it(self) -> None:
        stage, facts = self._stage, self._facts
        name, asked = facts.victim, self._living()

        async def was_told() -> bool:
            found = await asked.nodes()
            for node in found.items if found is not None else ():
                if node.name == name and node.given_up_by is not None:
                    facts.speaker, facts.told = node.given_up_by, node.told or 0
            return facts.told >= len(facts.moved)

        await stage.until(was_told, f"the canister was told that clients of {name} left", asked.program)
        facts.told_after_s = time.monotonic() - self._killed_at
        ended = stage.canister.ended
        facts.ended_at_canister = {each.name: ended[each.principal] for each in stage.talkers}
        self._say(
            f"{facts.speaker} speaks",
            f"for {name}: no heartbeat for {GIVE_UP_AFTER_S:g} s (the default is 30 s), and no answer at its own "
            f"address; the canister was told of {counted(facts.told, 'client')}",
        )

    async def _cut_the_engine(self) -> None:
        stage, facts = self._stage, self._facts
        losses = {talker.name: talker.losses for talker in stage.talkers}
        answered = self._answered()
        stage.engine.kill()
        cut_at = time.monotonic()
        self._say("kill -9", "the engine is gone too, with all that it held")
        for node in self._running():
            await stage.until(lambda node=node: _is_away(node), f"node {node.name} notices", node.program)
        self._say("", "the nodes have noticed, and go on alone")
        newcomer = stage.talk("newcomer 1")
        await self._until_all(lambda talker: talker.is_open, "a newcomer has a session without the engine")
        await self._some_answers(stage.talkers)
        facts.newcomer_after_s = newcomer.opened_after_s
        facts.away_s = time.monotonic() - cut_at
        facts.answered_away = self._answered() - answered
        facts.lost_away = [name for name, before in losses.items() if _of(stage.talkers, name).losses > before]
        self._say("", f"{counted(facts.answered_away, 'message')} answered in {duration(facts.away_s)} without it")

    async def _bring_back(self) -> None:
        stage, facts = self._stage, self._facts
        stage.engine.start()
        await stage.until_joined()
        self._say("Engine", "started again, empty; the nodes have joined")
        await stage.start(facts.victim)
        await stage.until_joined()
        self._say(f"Node {facts.victim}", "started again, and has joined")
        await self._until_in_balance(facts.victim)
        newcomers = [stage.talk(f"newcomer {number + 2}", facts.victim) for number in range(len(stage.nodes))]
        await self._until_all(lambda talker: talker.is_open, "newcomers have a session")
        at_node = await self._nodes_of(stage.nodes[facts.victim], stage.talkers)
        facts.returned = sum(at_node.get(each.name) == facts.victim for each in newcomers)
        self._say("", f"{counted(len(newcomers), 'newcomer')}: {self._spread(at_node)}")
        await self._some_answers(stage.talkers)

    async def _count(self) -> None:
        stage, facts = self._stage, self._facts
        for talker in stage.talkers:
            talker.finish()
        give_up_at = time.monotonic() + _LAST_ANSWERS_S
        while any(talker.account.pending for talker in stage.talkers) and time.monotonic() < give_up_at:
            await asyncio.sleep(0.05)
        self._say("Clients", "have sent their last message and wait for no answer any more; they leave")
        await stage.end_clients()
        give_up_at = time.monotonic() + _LAST_ANSWERS_S
        while stage.canister.connected and time.monotonic() < give_up_at:
            await asyncio.sleep(0.05)
        facts.left = stage.canister.connected
        facts.accounts = {talker.name: talker.account for talker in stage.talkers}
        facts.received = stage.canister.received
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
        echo(f"{elapsed:<{_TIME}}{styled(f'{who:<{_LABEL}}', bold=True)}  {first}")
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

    async def _some_answers(self, talkers: Iterable[Talker]) -> None:
        """Wait until each of them has had some more."""
        wanted = {talker.name: talker.account.answered + _ANSWERS for talker in talkers}
        await self._until_all(
            lambda talker: talker.account.answered >= wanted.get(talker.name, 0), "each client has its answers"
        )

    async def _until_in_balance(self, name: str) -> None:
        """Wait until the balancer uses a node again."""
        balancer = self._stage.balancer
        if balancer is not None:
            await self._stage.until(lambda: balancer.uses(name), f"HAProxy uses node {name}", balancer.program)

    async def _nodes_of(self, asked: GatewayNode, talkers: Iterable[Talker]) -> dict[str, str]:
        """The node of each client, as the nodes know it: each has a session somewhere."""
        at_node: dict[str, str] = {}
        names = {str(talker.principal): talker.name for talker in talkers}

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


def _of(talkers: Iterable[Talker], name: str) -> Talker:
    return next(talker for talker in talkers if talker.name == name)


async def _is_away(node: GatewayNode) -> bool:
    found = await node.nodes()
    return found is not None and found.engine == "away"


async def demonstrate(wanted: Wanted, *, once: bool) -> None:
    """Set everything up and tell the story, then serve until interrupted, unless `once`.

    Raises ClickException where a claim does not hold or something does not come about, and OSError for a port that is
    taken.
    """
    started = time.monotonic()
    async with staged(wanted) as stage:
        holds = await Story(stage, wanted.conditions, started).tell()
        if holds and not once:
            await _keep_serving(stage)
    if not holds:
        raise click.ClickException("not everything was as it has to be")


async def _keep_serving(stage: Stage) -> None:
    first, *others = stage.nodes.values()
    with loop.interrupts() as interrupted:
        echo(f"\nThe nodes keep running; Ctrl-C stops them. From another terminal, with -c {first.file}:\n")
        pairs = [
            ("icws nodes", "how they are"),
            ("icws sessions", "the sessions of all of them"),
            (f"icws drain start --node {others[0].name}", "send its clients elsewhere"),
            ("icws reload --cluster", "the configuration, node by node"),
        ]
        for line in field_lines(pairs, max_width=terminal_width(), indent="  "):
            echo(line)
        url = first.url if stage.balancer is None else stage.balancer.url
        echo(f"\n  icws connect {url} {stage.canister_id} --network {stage.net.url}\n")
        await interrupted.wait()
    echo("\nstopped")
