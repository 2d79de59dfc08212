"""The wire generations by the names of the configuration."""

from appliance.protocol.session import Session
from appliance.protocol.v0 import V0
from appliance.protocol.v1 import V1
from appliance.protocol.v2 import V2

SESSIONS: dict[str, type[Session]] = {session.name: session for session in (V0, V1, V2)}
"""The engine of each generation; the newest is last."""
