"""`appliance.client.sync`: the client for programs without an event loop."""

from appliance.client.sync import *
from appliance.client.sync import __all__ as __all__  # noqa: PLC0414 - type checkers follow it
