"""A gateway with little memory for its clients, and all limits that it has by default."""

from typing import Any

MIB = 1 << 20
BUDGET = 16 * MIB
OTHER = 40 * MIB
"""What a process takes besides: verified signatures, code that is used for the first time, what its allocators keep."""
_ENFORCED = {"mode": "enforce"}
_SCOPES = (
    "connections_per_ip",
    "frames_per_ip",
    "frames_per_connection",
    "bytes_per_connection",
    "messages_per_client",
)
LIMITS: dict[str, Any] = {
    "limits": {"memory": f"{BUDGET // MIB}MiB", "held_per_address": _ENFORCED},
    "rate_limits": dict.fromkeys(_SCOPES, _ENFORCED),
}
