"""The settings of a canister (interface specification, "canister_settings")."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

from appliance.ic.principal import Principal
from appliance.localnet.canisters.management_types import SAVED_SETTINGS, SETTINGS

NUMBERS = (
    "compute_allocation",
    "memory_allocation",
    "freezing_threshold",
    "reserved_cycles_limit",
    "minimum_incoming_canister_call_cycles",
    "log_memory_limit",
    "wasm_memory_limit",
    "wasm_memory_threshold",
)
VISIBILITIES = ("log_visibility", "snapshot_visibility", "status_visibility")

Visibility: TypeAlias = frozenset[Principal] | None | Literal["public"]
"""Who may see something besides the controllers: these principals, nobody, or everybody."""


@dataclass(frozen=True)
class Settings:
    """Stored and shown. Only the visibilities have an effect: nothing is scarce on a local network.

    ``freezing_threshold`` is in seconds, ``compute_allocation`` in per cent, limits and allocations in bytes or cycles.
    """

    compute_allocation: int = 0
    memory_allocation: int = 0
    freezing_threshold: int = 2_592_000
    reserved_cycles_limit: int = 5 * 10**12
    minimum_incoming_canister_call_cycles: int = 0
    log_memory_limit: int = 4096
    wasm_memory_limit: int = 3 * 1024**3
    wasm_memory_threshold: int = 0
    log_visibility: Visibility = None
    snapshot_visibility: Visibility = None
    status_visibility: Visibility = None

    def changed(self, wanted: Mapping[str, Any]) -> "Settings":
        """The settings with the fields that are given in ``canister_settings``."""
        given = {name: value for name, value in wanted.items() if value is not None}
        numbers: dict[str, Any] = {name: given[name] for name in NUMBERS if name in given}
        visibilities: dict[str, Any] = {name: _visibility(given[name]) for name in VISIBILITIES if name in given}
        return replace(self, **numbers, **visibilities)

    def to_candid(self, controllers: Iterable[Principal], variables: Mapping[str, str]) -> dict[str, object]:
        """As ``definite_canister_settings``."""
        return {
            "controllers": sorted(controllers),
            "environment_variables": [{"name": name, "value": value} for name, value in sorted(variables.items())],
            **{name: getattr(self, name) for name in NUMBERS},
            **{name: _to_candid(getattr(self, name)) for name in VISIBILITIES},
        }

    def encode(self) -> bytes:
        """Candid for `decode`, without controllers and variables, which the record holds."""
        return SETTINGS.encode(self.to_candid((), {}))

    @staticmethod
    def decode(data: bytes) -> "Settings":
        """The settings that `encode` wrote. Raises CandidError."""
        (kept,) = SAVED_SETTINGS.decode(data)
        return Settings().changed(kept)  # type: ignore[arg-type]  # a record is a dict


def is_open_to(visibility: Visibility, reader: Principal) -> bool:
    """Whether a principal that is no controller may see it."""
    match visibility:
        case "public":
            return True
        case frozenset() as viewers:
            return reader in viewers
        case _:
            return False


def _visibility(wanted: Mapping[str, Any]) -> Visibility:
    match wanted:
        case {"public": None}:
            return "public"
        case {"allowed_viewers": viewers}:
            return frozenset(viewers)
        case _:
            return None


def _to_candid(visibility: Visibility) -> dict[str, object]:
    match visibility:
        case "public":
            return {"public": None}
        case frozenset() as viewers:
            return {"allowed_viewers": sorted(viewers)}
        case _:
            return {"controllers": None}
