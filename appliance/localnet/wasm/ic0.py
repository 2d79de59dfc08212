"""All system functions (interface specification, "System API"). What a module may call is in `FUNCTIONS`."""

from appliance.localnet.wasm import ic0_calls, ic0_costs, ic0_cycles, ic0_messages, ic0_stable, ic0_system
from appliance.localnet.wasm.registry import FUNCTIONS

THEMES = (ic0_calls, ic0_costs, ic0_cycles, ic0_messages, ic0_stable, ic0_system)

__all__ = ["FUNCTIONS", "THEMES"]
