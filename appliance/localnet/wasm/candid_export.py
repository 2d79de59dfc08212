"""The Candid interface that modules of ic-cdk carry: ``export_candid!`` exports a function that returns its address."""

from appliance.ic.principal import MANAGEMENT_CANISTER
from appliance.localnet.canisters.canister import Environment, ExecutionError
from appliance.localnet.wasm.execution import Code, Execution
from appliance.localnet.wasm.state import WasmState
from appliance.localnet.wasm.system_api import Kind

EXPORT = "get_candid_pointer"


def read_exported_interface(module: Code) -> str:
    """Run the function in a fresh instance, and return its text; empty where it fails."""
    env = Environment(MANAGEMENT_CANISTER, MANAGEMENT_CANISTER, 0)
    # The limit of an inspection is the lowest: whoever looks at the page waits for this.
    execution = Execution(module, WasmState(), Kind.INSPECT, env)
    try:
        return execution.text_of(EXPORT).decode(errors="replace")
    except ExecutionError:
        return ""
    finally:
        execution.close()
