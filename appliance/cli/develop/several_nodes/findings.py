"""What was counted, and what it proves. Pure: the story fills the facts in, and this judges them."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from appliance.cli.develop.several_nodes.account import Account
from appliance.cli.develop.several_nodes.thief import Theft
from appliance.cli.output.formatting import counted, duration
from appliance.cli.output.terminal import Column, table
from appliance.errors import OpeningClaimed


@dataclass
class Facts:
    """What happened, as the clients, the canister and the nodes saw it."""

    victim: str
    """The node that was killed."""
    homes: Mapping[str, str]
    """Each client's node before that."""
    gone: list[str] = field(default_factory=list)
    """Those of its clients that did not come back."""
    moved_after_s: dict[str, float] = field(default_factory=dict)
    """Time from the end of its session to the next one, of those that did."""
    disturbed: list[str] = field(default_factory=list)
    """Other clients whose session ended meanwhile."""
    speaker: str = ""
    """The node that told the canister."""
    spoken_for: int = 0
    """Clients that it told the canister of, as it says."""
    told_after_s: float = 0.0
    """Time from the kill until then."""
    told_of: Mapping[str, list[int]] = field(default_factory=dict)
    """How often the canister was told of each ended session of a client, once the node was back."""
    theft: Theft | None = None
    """What a copy of an opening message got at another node."""
    away_s: float = 0.0
    """Time without the engine."""
    answered_away: int = 0
    """Messages answered meanwhile."""
    lost_away: list[str] = field(default_factory=list)
    """Clients whose session ended meanwhile."""
    newcomer_after_s: float | None = None
    """Time until a client that came meanwhile was open."""
    returned: int = 0
    """Clients of the node that was killed, after it came back."""
    accounts: Mapping[str, Account] = field(default_factory=dict)
    """The account of each client."""
    received: Counter[str] = field(default_factory=Counter)
    """How often each message came to the canister."""
    opened: int = 0
    """Sessions that the canister accepted."""
    told: Sequence[int] = ()
    """How often it was told the end of each of them that it was told the end of."""
    left: int = 0
    """Clients that the canister had at the end, when all had gone."""
    errors: Mapping[str, str] = field(default_factory=dict)
    """Clients whose connection ended for good."""

    @property
    def victims(self) -> list[str]:
        """The clients of the node that was killed."""
        return [name for name, home in self.homes.items() if home == self.victim]

    def total(self, names: Sequence[str]) -> "Total":
        """The accounts of these clients together."""
        accounts = [self.accounts[name] for name in names]
        cut = [text for each in accounts for text in each.cut_off]
        return Total(
            clients=len(names),
            sent=sum(each.sent for each in accounts),
            answered=sum(each.answered for each in accounts),
            cut_off=len(cut),
            cut_off_received=sum(text in self.received for text in cut),
            lost=sum(len(each.pending) for each in accounts),
            doubled=sum(each.doubled for each in accounts)
            + sum(self.received[text] - 1 for text in self.received if text.rpartition(" ")[0] in names),
        )


class Total(NamedTuple):
    """Of the messages of some clients."""

    clients: int
    sent: int
    answered: int
    cut_off: int
    cut_off_received: int
    """Those of them that the canister has."""
    lost: int
    doubled: int


class Finding(NamedTuple):
    """A claim, whether it holds, and what was counted for it."""

    holds: bool
    claim: str
    evidence: str


def findings(facts: Facts) -> Iterator[Finding]:
    """The claims, the most important first."""
    everything = facts.total(list(facts.accounts))
    yield Finding(
        not everything.lost and not everything.doubled and not facts.errors,
        "No message was lost, and none doubled.",
        f"{everything.sent} sent, {everything.answered} answered once. {everything.cut_off} were under way when "
        f"{facts.victim} was killed: their clients were told so ({everything.cut_off_received} of them had reached the "
        f"canister). {everything.lost} lost, {everything.doubled} doubled{_and(facts.errors)}",
    )
    victims = facts.victims
    stayed = [name for name in victims if name not in facts.gone]
    times = [facts.moved_after_s[name] for name in stayed if name in facts.moved_after_s]
    yield Finding(
        bool(stayed) and len(times) == len(stayed),
        f"Clients of {facts.victim} went on at other nodes.",
        f"{len(times)} of {len(stayed)}" + (f", after {_span(times)}" if times else ""),
    )
    yield Finding(
        not facts.disturbed,
        "Nobody else noticed, and no session was ended for another.",
        f"{len(facts.accounts) - len(victims)} clients of other nodes, {len(facts.disturbed)} sessions ended",
    )
    counts = [count for name in victims for count in facts.told_of.get(name, [])]
    yield Finding(
        len(counts) == len(victims) == facts.spoken_for and set(counts) == {1},
        f"The canister was told of {facts.victim}'s clients, once each.",
        f"of {len(counts)} of {len(victims)}, by {facts.speaker or 'nobody'}, {duration(facts.told_after_s)} after the "
        f"kill; {sum(count - 1 for count in counts)} times again when {facts.victim} was back",
    )
    yield Finding(
        facts.returned > 0,
        f"{facts.victim} serves again after its next start.",
        f"{counted(facts.returned, 'newcomer')} there",
    )
    yield Finding(
        not facts.lost_away and facts.answered_away > 0 and facts.newcomer_after_s is not None,
        "Without the engine everything goes on.",
        f"{duration(facts.away_s)} without it: {counted(facts.answered_away, 'message')} answered, "
        f"{len(facts.lost_away)} sessions ended, {_newcomer(facts.newcomer_after_s)}",
    )
    if facts.theft is not None:
        yield _of_theft(facts.theft)
    yield Finding(
        not facts.left and len(facts.told) == facts.opened and set(facts.told) <= {1},
        "The canister knows nobody who has left.",
        f"it accepted {facts.opened} sessions and was told the end of {len(facts.told)}, "
        f"{sum(count - 1 for count in facts.told)} times again; {counted(facts.left, 'client')} left over",
    )


def _of_theft(theft: Theft) -> Finding:
    how = "let in" if theft.code is None else f"closed with {theft.code}"
    return Finding(
        theft.code == OpeningClaimed.close_code and not theft.received and theft.is_owner_open,
        "A copied opening message is worth nothing at another node.",
        f"{how}, after {counted(theft.received, 'message')}; the session of its client "
        f"{'goes on' if theft.is_owner_open else 'has ended'}",
    )


def account_table(facts: Facts, width: int | None) -> list[str]:
    """The messages of the clients, by the node that they were at first."""
    nodes = sorted(set(facts.homes.values()))
    groups = [(f"at {node}", [name for name, home in facts.homes.items() if home == node]) for node in nodes]
    groups.append(("came later", [name for name in facts.accounts if name not in facts.homes]))
    rows = [_row(label, facts.total(names), _moves(facts, names)) for label, names in groups]
    everyone = list(facts.accounts)
    rows.append(_row("all", facts.total(everyone), _moves(facts, everyone)))
    titles = ["CLIENTS", "MOVED", "SENT", "ANSWERED", "CUT OFF, TOLD", "LOST", "DOUBLED"]
    columns = [Column("AT FIRST"), *(Column(title, align="right") for title in titles)]
    return table(columns, rows, max_width=width)


def _moves(facts: Facts, names: Sequence[str]) -> int:
    return sum(name in facts.moved_after_s for name in names)


def _row(label: str, total: Total, moves: int) -> list[str]:
    numbers = (total.clients, moves, total.sent, total.answered, total.cut_off, total.lost, total.doubled)
    return [label, *map(str, numbers)]


def _span(times: Sequence[float]) -> str:
    first, last = f"{min(times):.1f}", f"{max(times):.1f}"
    return f"{last} s" if first == last else f"{first} to {last} s"


def _newcomer(after_s: float | None) -> str:
    return "nobody could come in" if after_s is None else f"a newcomer was in after {duration(after_s)}"


def _and(errors: Mapping[str, str]) -> str:
    return "".join(f"; {name}: {error}" for name, error in errors.items())
