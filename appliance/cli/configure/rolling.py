"""``icws reload --cluster``: each node applies its own file, one after the other, and all keep it or none does.

Each runs the new configuration on trial until all do. So nothing has to go on for the change to be taken back: not this
command, not the node that it asks, not the engine between the nodes.
"""

import time
from collections.abc import Callable, Collection, Sequence
from typing import Literal, Protocol

import click

from appliance.cli.output.formatting import counted
from appliance.cli.output.terminal import echo, print_result
from appliance.cli.remote.api_options import wants_json
from appliance.control.client import Client, ControlError, ControlRefused, path_to
from appliance.control.models import (
    Answer,
    Applied,
    ApplyRequest,
    ConfirmRequest,
    Nodes,
    Request,
    RollbackRequest,
    Status,
)
from appliance.errors import ConfigError

LOOKS = 21
LOOK_S = 0.5
"""How often, and after which time, a node is asked for its health, until no check of its readiness fails that did not
fail before."""
TRIAL_S = 120.0
NODE_S = 120.0
"""Of a trial: this, and so much more for each node."""

Result = Literal["applied", "unchanged", "refused", "not healthy", "taken back", "not taken back", "not reached"]


class Step(Answer):
    """What happened at one node."""

    node: str
    result: Result
    generation: int | None = None
    """The revision that runs there now, as far as is known."""
    problem: str | None = None


class Rolled(Answer):
    """What happened at all of them."""

    kept: bool
    """Whether all nodes keep the configuration of their files."""
    nodes: list[Step]


class Failed(Exception):
    """A node keeps the others from going on."""


class NodesApi(Protocol):
    """The nodes, by name. Each method raises ControlError or ConfigError."""

    def revision(self, node: str) -> int:
        """The revision that runs at a node."""

    def failing(self, node: str) -> dict[str, str]:
        """The checks of its readiness that fail, with a sentence each."""

    def apply(self, node: str) -> Applied:
        """Run the file of a node on trial."""

    def confirm(self, node: str) -> Applied:
        """Keep what runs on trial."""

    def roll_back(self, node: str, revision: int) -> Applied:
        """Run a revision again; nothing changes where it runs."""


class Rolling:
    """One attempt to change all nodes. ``steps`` says what happened so far, by node."""

    def __init__(
        self,
        api: NodesApi,
        nodes: Sequence[str],
        *,
        say: Callable[[str], None],
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.steps = {name: Step(node=name, result="not reached") for name in nodes}
        self._api = api
        self._say = say
        self._sleep = sleep
        self._before: dict[str, int] = {}
        self._to_take_back: list[str] = []

    def run(self) -> Rolled:
        """Change all nodes, or take all back, also when this is interrupted."""
        kept = False
        try:
            failing = {name: self._look(name) for name in self.steps}
            for name in self.steps:
                self._change(name, failing[name])
            for name in self._to_take_back:
                self._confirm(name)
            kept = True
        except Failed as error:
            self._say(str(error))
        finally:
            if not kept:
                self._take_back()
        return Rolled(kept=kept, nodes=list(self.steps.values()))

    def _look(self, name: str) -> dict[str, str]:
        """Raises Failed."""
        try:
            self._before[name] = self._api.revision(name)
            return self._api.failing(name)
        except (ControlError, ConfigError) as error:
            raise self._failed(name, "refused", str(error)) from error

    def _change(self, name: str, failing_before: dict[str, str]) -> None:
        """Raises Failed."""
        try:
            applied = self._api.apply(name)
        except (ControlError, ConfigError) as error:
            if may_be_done(error):
                self._to_take_back.append(name)
            raise self._failed(name, "refused", str(error)) from error
        if applied.result == "unchanged":
            self._done(name, "unchanged", applied.generation)
            return
        self._to_take_back.append(name)
        self._done(name, "applied", applied.generation)
        self._await_health(name, failing_before)

    def _await_health(self, name: str, failing_before: dict[str, str]) -> None:
        """Raises Failed."""
        worse: dict[str, str] = {}
        for look in range(LOOKS):
            if look:
                self._sleep(LOOK_S)
            try:
                failing = self._api.failing(name)
            except (ControlError, ConfigError) as error:
                worse = {"its health is not known": str(error)}
                continue
            worse = {check: why for check, why in failing.items() if check not in failing_before}
            if not worse:
                return
        raise self._failed(name, "not healthy", "; ".join(f"{check}: {why}" for check, why in worse.items()))

    def _confirm(self, name: str) -> None:
        """Raises Failed."""
        try:
            self._api.confirm(name)
        except (ControlError, ConfigError) as error:
            raise self._failed(name, "refused", f"it could not be kept: {error}") from error

    def _take_back(self) -> None:
        """The last changed first. A node that cannot be asked ends its trial by itself."""
        for name in reversed(self._to_take_back):
            why = self.steps[name].problem
            try:
                back = self._api.roll_back(name, self._before[name])
            except (ControlError, ConfigError) as error:
                problem = f"{error}; unless it was kept, it is taken back when its trial ends"
                self._done(name, "not taken back", None, problem)
            else:
                self._done(name, "taken back", back.generation, why)

    def _done(self, name: str, result: Result, generation: int | None, problem: str | None = None) -> None:
        self.steps[name] = Step(node=name, result=result, generation=generation, problem=problem)
        revision = "" if generation is None else f", revision {generation}"
        self._say(f"{name}: {result}{revision}" + (f": {problem}" if problem else ""))

    def _failed(self, name: str, result: Result, problem: str) -> Failed:
        self.steps[name] = self.steps[name].model_copy(update={"result": result, "problem": problem})
        return Failed(f"{name}: {result}: {problem}")


class RemoteNodes:
    """Implements `NodesApi` by one node that asks the others."""

    def __init__(self, api: Client, request: ApplyRequest) -> None:
        self._api = api
        self._request = request

    def revision(self, node: str) -> int:
        """See NodesApi."""
        return self._api.get(Status, path_to("status"), node=node).generation

    def failing(self, node: str) -> dict[str, str]:
        """See NodesApi."""
        checks = self._api.health("/readyz", node=node).checks or ()
        return {check.name: check.detail for check in checks if not check.ok}

    def apply(self, node: str) -> Applied:
        """See NodesApi."""
        return self._ask("apply", node, self._request)

    def confirm(self, node: str) -> Applied:
        """See NodesApi."""
        return self._ask("confirm", node, ConfirmRequest())

    def roll_back(self, node: str, revision: int) -> Applied:
        """See NodesApi."""
        return self._ask("rollback", node, RollbackRequest(generation=revision))

    def _ask(self, what: str, node: str, body: Request) -> Applied:
        return self._api.ask(Applied, "POST", path_to("config", what), query={"node": node}, body=body)


def may_be_done(error: ControlError | ConfigError) -> bool:
    """Whether a node may have done what failed: where it has not refused it."""
    return isinstance(error, ControlError) and (not isinstance(error, ControlRefused) or error.kind == "node-failed")


def reload_cluster(api: Client, *, without: Collection[str], allow_restart: bool, force: bool) -> None:
    """Do it for every node but those ``without``, and print what happened. Exit code 1 where it was taken back."""
    names = _nodes(api, without)
    trial_s = TRIAL_S + NODE_S * len(names)
    request = ApplyRequest(confirm_within_s=trial_s, allow_restart=allow_restart, force=force)
    rolled = Rolling(RemoteNodes(api, request), names, say=_silent if wants_json() else echo).run()
    print_result(rolled, [_summary(rolled)])
    if not rolled.kept:
        raise SystemExit(1)


def _silent(_: str) -> None:
    """Programs get the result only."""


def _summary(rolled: Rolled) -> str:
    if rolled.kept:
        changed = sum(each.result == "applied" for each in rolled.nodes)
        return f"kept by all: {counted(changed, 'node')} changed"
    left = [each.node for each in rolled.nodes if each.result == "not taken back"]
    files = "the files are as they were, and the next reload applies them"
    return f"not taken back: {', '.join(left)}; {files}" if left else f"no node has changed; {files}"


def _nodes(api: Client, without: Collection[str]) -> list[str]:
    """Raises ClickException where one of them cannot be asked."""
    found = api.get(Nodes, path_to("nodes"))
    if found.cluster is None:
        raise click.ClickException("this gateway is alone: its configuration has no section `cluster`")
    if found.engine != "joined":
        raise click.ClickException(found.problem or "this node is not part of its cluster")
    nodes = [node for node in found.items if node.name not in without]
    if silent := [node.name for node in nodes if node.state == "silent"]:
        names = " ".join(f"--without {name}" for name in silent)
        raise click.ClickException(f"{', '.join(silent)}: without a heartbeat; if that is known, add {names}")
    return [node.name for node in nodes if node.state == "alive"]  # who is given up runs nothing any more
