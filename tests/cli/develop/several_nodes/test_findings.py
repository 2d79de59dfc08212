from collections import Counter
from dataclasses import replace

import pytest

from appliance.cli.develop.several_nodes.account import Account
from appliance.cli.develop.several_nodes.findings import Facts, account_table, findings
from appliance.cli.develop.several_nodes.thief import Theft


def account(answered: int = 3, *, cut_off: int = 0, lost: int = 0, name: str = "x") -> Account:
    made = Account()
    for number in range(answered + cut_off + lost):
        made.send(f"{name} {number}")
    for number in range(answered):
        made.answer(f"{name} {number}")
    made.end_session(f"{name} {answered + number}" for number in range(cut_off))
    return made


GOOD = Facts(
    victim="b",
    homes={"one": "a", "two": "b", "three": "b"},
    gone=["three"],
    moved_after_s={"two": 1.25},
    speaker="a",
    spoken_for=2,
    told_after_s=12.0,
    told_of={"two": [1], "three": [1]},
    theft=Theft(4519, 0, is_owner_open=True),
    away_s=5.0,
    answered_away=7,
    newcomer_after_s=1.0,
    returned=1,
    accounts={"one": account(), "two": account(cut_off=2, name="two"), "three": account(1), "late": account(1)},
    received=Counter({"two 0": 1, "two 3": 1}),
    opened=5,
    told=[1, 1, 1, 1, 1],
)


def failing(facts: Facts) -> list[str]:
    return [claim for holds, claim, _ in findings(facts) if not holds]


def test_a_good_run_proves_everything():
    assert failing(GOOD) == []
    first = next(findings(GOOD))
    assert first.evidence == (
        "10 sent, 8 answered once. 2 were under way when b was killed: their clients were told so (1 of them had "
        "reached the canister). 0 lost, 0 doubled"
    )


@pytest.mark.parametrize(
    ("change", "claim"),
    [
        ({"accounts": {**GOOD.accounts, "one": account(lost=1)}}, "No message was lost, and none doubled."),
        ({"received": Counter({"two 0": 2})}, "No message was lost, and none doubled."),
        ({"errors": {"one": "connection closed"}}, "No message was lost, and none doubled."),
        ({"moved_after_s": {}}, "Clients of b went on at other nodes."),
        ({"disturbed": ["one"]}, "Nobody else noticed, and no session was ended for another."),
        ({"told_of": {"two": [1]}}, "The canister was told of b's clients, once each."),
        ({"told_of": {"two": [1], "three": [2]}}, "The canister was told of b's clients, once each."),
        ({"spoken_for": 1}, "The canister was told of b's clients, once each."),
        ({"returned": 0}, "b serves again after its next start."),
        ({"answered_away": 0}, "Without the engine everything goes on."),
        ({"lost_away": ["one"]}, "Without the engine everything goes on."),
        ({"newcomer_after_s": None}, "Without the engine everything goes on."),
        ({"theft": Theft(None, 2, is_owner_open=True)}, "A copied opening message is worth nothing at another node."),
        ({"theft": Theft(4519, 0, is_owner_open=False)}, "A copied opening message is worth nothing at another node."),
        ({"told": [1, 1, 1, 1]}, "The canister knows nobody who has left."),
        ({"told": [1, 1, 1, 1, 2]}, "The canister knows nobody who has left."),
        ({"left": 1}, "The canister knows nobody who has left."),
    ],
)
def test_each_claim_fails_with_what_refutes_it(change, claim):
    assert failing(replace(GOOD, **change)) == [claim]


def test_the_table_has_each_client_once_by_its_first_node():
    lines = account_table(GOOD, 80)
    assert [line.split() for line in lines[1:]] == [
        ["at", "a", "1", "0", "3", "3", "0", "0", "0"],
        ["at", "b", "2", "1", "6", "4", "2", "0", "0"],
        ["came", "later", "1", "0", "1", "1", "0", "0", "0"],
        ["all", "4", "1", "10", "8", "2", "0", "0"],
    ]
    assert max(map(len, lines[1:])) <= 80
