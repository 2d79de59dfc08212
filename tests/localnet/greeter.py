"""A canister to try agents on: a query, an update and the caller's name."""

from appliance.ic.principal import Principal
from appliance.localnet.canisters.canister import Environment
from appliance.localnet.canisters.python_canister import PythonCanister


class Greeter(PythonCanister):
    """Greets, counts how often it was asked to, and tells callers who they are."""

    did = """service : {
  greet : (text) -> (text) query;
  count : () -> (nat);
  whoami : () -> (principal) query;
}
"""

    def __init__(self) -> None:
        super().__init__()
        self._count = 0

    def init(self, env: Environment, *arguments: object) -> None:
        """Count from 0."""
        self._count = 0

    def greet(self, env: Environment, name: str) -> str:
        """Greet."""
        return f"Hello, {name}!"

    def count(self, env: Environment) -> int:
        """Count one more."""
        self.undo_log.set(self, "_count", self._count + 1)
        return self._count

    def whoami(self, env: Environment) -> Principal:
        """The caller."""
        return env.caller
