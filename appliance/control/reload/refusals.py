"""What a reload refuses without an option that allows it: changes that need a restart, and the removal of every
canister.
"""

from collections.abc import Iterable
from dataclasses import replace

from appliance.config.load import Loaded
from appliance.config.plan import Plan, PlannedChange
from appliance.errors import ConfigError, ConfigProblem, ForceNeeded, NothingToTry, RestartNeeded


def not_pending(plan: Plan, pending: Iterable[PlannedChange]) -> list[PlannedChange]:
    """The changes of a plan without those that wait for a restart already."""
    settled = [(change.path, change.new) for change in pending]
    return [change for change in plan if (change.path, change.new) not in settled]


def check_permitted(
    plan: Plan, new: Loaded, pending: Iterable[PlannedChange], *, allow_restart: bool, force: bool
) -> None:
    """Raises RestartNeeded or ForceNeeded, with the place of each key in ``new``."""
    waiting = [change.key for change in not_pending(plan, pending) if change in plan.restarts]
    if waiting and not allow_restart:
        problem = "this change needs a restart; restart the gateway, or allow the change to wait for the next one"
        raise RestartNeeded([ConfigProblem(new.place_of(key), key, problem) for key in waiting])
    sessions = sum(change.sessions for change in plan if change.removes_canister)
    if sessions and not new.config.canisters and new.config.unlisted_canisters == "deny" and not force:
        problem = f"this removes every canister while {sessions} sessions are open; use force if you mean it"
        raise ForceNeeded([ConfigProblem(new.place_of("canisters"), "canisters", problem)])


def check_revertible(new: Loaded, running: Loaded) -> None:
    """Raises NothingToTry where a rollback of ``new`` would find nothing to change."""
    if new.text == running.text:
        raise NothingToTry


def add_places(error: BaseException, new: Loaded) -> None:
    """Fill in the places of problems that a part found: a part knows the key, but not the file and line."""
    if isinstance(error, ConfigError):
        error.problems = [
            problem if problem.place else replace(problem, place=new.place_of(problem.key))
            for problem in error.problems
        ]
