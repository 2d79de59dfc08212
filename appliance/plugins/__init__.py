"""What a plugin needs: ``hook`` marks its hooks, the rest is what they are given and what they answer."""

from appliance.config.fields.values import File
from appliance.config.schema import Section
from appliance.gateway.hooks import CanisterMessage, ClientMessage, Ending, Happening, Visit, Who
from appliance.plugins.specification import Refusal, hook

__all__ = [
    "CanisterMessage",
    "ClientMessage",
    "Ending",
    "File",
    "Happening",
    "Refusal",
    "Section",
    "Visit",
    "Who",
    "hook",
]
