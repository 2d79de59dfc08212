"""The settings of a canister (interface specification, "canister_settings")."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from appliance.ic.principal import Principal
from appliance.localnet.canisters.management_types import SETTINGS

NUMBERS = (
    "compute_allocation",
    "memory_allocation",
    "freezing_threshold",
    "reserved_cycles_limit",
    "wasm_memory_limit",
    "wasm_memory_threshold",
)


@dataclass(frozen=True)
class Settings:
    """Stored and shown. Only ``log_visibility`` has an effect: nothing is scarce on a local network.

    ``freezing_threshold`` is in seconds, ``compute_allocation`` in per cent, limits and allocations in bytes or cycles.
    ``log_visibility`` is None for controllers, ``public``, or who may see the log besides the controllers.
    """

    compute_allocation: int = 0
    memory_allocation: int = 0
    freezing_threshold: int = 2_592_000
    reserved_cycles_limit: int = 5 * 10**12
    wasm_memory_limit: int = 3 * 1024**3
    wasm_memory_threshold: int = 0
    log_visibility: frozenset[Principal] | None | str = None

    def changed(self, wanted: Mapping[str, Any]) -> "Settings":
        """The settings with the fields that are given in ``canister_settings``."""
        numbers = {name: wanted[name] for name in NUMBERS if wanted[name] is not None}
        if wanted["log_visibility"] is not None:
            return replace(self, **numbers, log_visibility=_visibility(wanted["log_visibility"]))
        return replace(self, **numbers)

    def is_log_open_to(self, reader: Principal) -> bool:
        """Whether somebody who is no controller may read the log."""
        match self.log_visibility:
            case "public":
                return True
            case frozenset() as viewers:
                return reader in viewers
            case _:
                return False

    def to_candid(self, controllers: Iterable[Principal], variables: Mapping[str, str]) -> dict[str, object]:
        """As ``definite_canister_settings``."""
        visibility: dict[str, object] = {"controllers": None}
        if self.log_visibility == "public":
            visibility = {"public": None}
        elif isinstance(self.log_visibility, frozenset):
            visibility = {"allowed_viewers": sorted(self.log_visibility)}
        return {
            "controllers": sorted(controllers),
            "log_visibility": visibility,
            "environment_variables": [{"name": name, "value": value} for name, value in sorted(variables.items())],
            **{name: getattr(self, name) for name in NUMBERS},
        }

    def encode(self) -> bytes:
        """Candid for `decode`, without controllers and variables, which the record holds."""
        return SETTINGS.encode(self.to_candid((), {}))

    @staticmethod
    def decode(data: bytes) -> "Settings":
        """The settings that `encode` wrote. Raises CandidError."""
        (kept,) = SETTINGS.decode(data)
        return Settings().changed(kept)  # type: ignore[arg-type]  # a record is a dict


def _visibility(wanted: Mapping[str, Any]) -> frozenset[Principal] | None | str:
    match wanted:
        case {"public": None}:
            return "public"
        case {"allowed_viewers": viewers}:
            return frozenset(viewers)
        case _:
            return None
