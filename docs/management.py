"""The page of the local network's management canister, generated from its interface."""

import textwrap
from collections.abc import Iterator

from appliance.localnet.canisters.management_types import METHODS, NOT_OFFERED
from appliance.localnet.management.rules import CANISTERS_ONLY, FOR_EVERYBODY, QUERIES, QUERIES_ONLY, VISIBLE

_PAGE = """\
# The management canister of the local network

`icws localnet` has a management canister `aaaaa-aa`, with the reject codes of the mainnet. Its types are those of the
interface specification in 2026: agents decode them, those of today and those with newer fields. This page is generated
from its interface (`make docs`).

| method | calls by users | calls by canisters | queries | who may call it |
| --- | --- | --- | --- | --- |
"""

_NOT_OFFERED = """
Methods of the interface specification that are not offered; a call is rejected with code 4 (`IC0406`) and a sentence
that names the method:

"""

_NOTES = """
What differs from the mainnet:

- Users may call `create_canister` too; such a canister gets cycles for free. Creating one costs no fee.
- Cycles move between canisters and are never charged for execution or memory. Allocations, limits and
  `minimum_incoming_canister_call_cycles` are stored and shown, and have no effect; visibilities have theirs.
- What is not measured is 0 in `canister_status`: query statistics, idle cycles, and the sizes of globals, module,
  custom sections and history. So is everything in `canister_metrics`.
- Everybody may ask for `list_canisters`: everybody administers a local network.
- A canister has at most 10 snapshots, in memory: `--state` does not save them. They cannot be downloaded or uploaded.
"""


def render_management() -> str:
    """The whole page."""
    missing = textwrap.fill(", ".join(f"`{name}`" for name in sorted(NOT_OFFERED)), 120, break_on_hyphens=False)
    return _PAGE + "".join(f"{row}\n" for row in _rows()) + _NOT_OFFERED + f"{missing}.\n" + _NOTES


def _rows() -> Iterator[str]:
    for name in METHODS:
        by_users = name not in CANISTERS_ONLY | QUERIES_ONLY
        by_canisters = name not in QUERIES_ONLY
        marks = ("yes" if is_possible else "no" for is_possible in (by_users, by_canisters, name in QUERIES))
        yield f"| `{name}` | {' | '.join(marks)} | {_callers(name)} |"


def _callers(name: str) -> str:
    if name in VISIBLE:
        return f"controllers, and whom `{VISIBLE[name]}` allows"
    if name == "fetch_canister_logs":
        return "controllers, and whom `log_visibility` allows"
    is_open = name in FOR_EVERYBODY | QUERIES_ONLY | {"raw_rand", "canister_info", "deposit_cycles"}
    return "everybody" if is_open or "create_canister" in name else "controllers"
