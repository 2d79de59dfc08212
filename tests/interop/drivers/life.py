"""Deploys a canister with an agent in Python, calls it, and reads its status.

Arguments: ``ic`` (ic-py) or ``icp`` (icp-py-core), and JSON {networkUrl, module}: a file. Output: a line of JSON for
each step, {"step": name, ...what was seen}. Ends with {"step": "failed", "error": …} where a step fails.
"""

import json
import sys
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

CREATING = "bkyz2-fmaaa-aaaaa-qaaaq-cai"
"""The effective canister id of a call that creates a canister: any of the network."""


MODULES = {
    "ic": {"agent": "ic.agent", "candid": "ic.candid", "client": "ic.client", "identity": "ic.identity"},
    "icp": {
        "agent": "icp_agent.agent",
        "candid": "icp_candid.candid",
        "client": "icp_agent.client",
        "identity": "icp_identity.identity",
    },
}


class Library:
    """What the two libraries have in common, under the names of each."""

    def __init__(self, name: str, url: str) -> None:
        module = {part: import_module(path) for part, path in MODULES[name].items()}
        self.types, self._encode = module["candid"].Types, module["candid"].encode
        identity = module["identity"].Identity(privkey=bytes(range(32)).hex())
        client = module["client"].Client(url)
        agent = _thawing(module["agent"].Agent)
        self._is_without_nonces = name == "ic"
        if self._is_without_nonces:
            self.agent, self._options = agent(identity, client), {"delay": 0.01}
        else:
            self.agent = agent(identity, client, verify_query_signatures=True)
            # It verifies certificates with a package that is on no index.
            self._options = {"verify_certificate": False}

    def manage(self, method: str, argument: dict[str, Any], result: Any, effective: str) -> Any:
        """Call a method of the management canister, and return its decoded result."""
        arg = self._encode([argument])
        found = self.agent.update_raw("aaaaa-aa", method, arg, result, effective, **self._options)
        return found[0]["value"] if result is not None else None

    def call(self, canister: str, method: str, result: Any) -> Any:
        """Call a method without arguments, and return its decoded result."""
        if self._is_without_nonces:
            # Otherwise equal calls within a second are one call to the IC. Later each time, as time is: a step back
            # would meet the call before it where a second has passed meanwhile.
            self.agent.ingress_expiry += 1
        found = self.agent.update_raw(canister, method, self._encode([]), result, canister, **self._options)
        return found[0]["value"]

    def query(self, canister: str, method: str, result: Any) -> Any:
        """Query a method without arguments."""
        return self.agent.query_raw(canister, method, self._encode([]), result, canister)[0]["value"]


def _thawing(agent: Any) -> Any:
    """With cbor2 6, which both allow, neither takes a reply that begins with the tag of CBOR: it is frozen."""

    class Agent(agent):  # type: ignore[misc]
        def query_endpoint(self, *arguments: Any, **options: Any) -> Any:
            return _thawed(super().query_endpoint(*arguments, **options))

    return Agent


def _thawed(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _thawed(inner) for key, inner in value.items()}
    return [_thawed(inner) for inner in value] if isinstance(value, tuple | list) else value


def say(step: str, **seen: Any) -> None:
    """Print what was seen."""
    sys.stdout.write(json.dumps({"step": step, **seen}, default=str) + "\n")


def run(library: Library, module: bytes) -> None:
    """All steps."""
    kinds = library.types
    blob, about = kinds.Vec(kinds.Nat8), kinds.Record({"canister_id": kinds.Principal})
    wanted = kinds.Record({"amount": kinds.Opt(kinds.Nat)})
    creation = {"type": wanted, "value": {"amount": [10**12]}}
    created = library.manage("provisional_create_canister_with_cycles", creation, about, CREATING)
    canister = str(created["canister_id"])
    say("created", id=canister)
    mode = kinds.Variant({"install": kinds.Null, "reinstall": kinds.Null, "upgrade": kinds.Null})
    install = kinds.Record({"mode": mode, "canister_id": kinds.Principal, "wasm_module": blob, "arg": blob})
    code = {"mode": {"install": None}, "canister_id": canister, "wasm_module": list(module), "arg": []}
    library.manage("install_code", {"type": install, "value": code}, None, canister)
    say("installed")
    say("called", answers=[library.call(canister, "add", kinds.Nat64) for _ in range(2)])
    say("queried", answer=library.query(canister, "peek", kinds.Nat64))
    result = kinds.Record(
        {
            "status": kinds.Variant({"running": kinds.Null, "stopping": kinds.Null, "stopped": kinds.Null}),
            "module_hash": kinds.Opt(blob),
            "cycles": kinds.Nat,
        }
    )
    subject = {"type": about, "value": {"canister_id": canister}}
    status = library.manage("canister_status", subject, result, canister)
    say("status", status=next(iter(status["status"])), cycles=status["cycles"])


def main() -> None:
    """Run what the arguments say."""
    options = json.loads(sys.argv[2])
    try:
        run(Library(sys.argv[1], options["networkUrl"]), Path(options["module"]).read_bytes())
    except Exception as error:
        say("failed", error=f"{type(error).__name__}: {error}")


main()
