"""The wire generations by the names of the configuration."""

from appliance.protocol.session import Session
from appliance.protocol.v2 import V2

SESSIONS: dict[str, type[Session]] = {"v2": V2}
