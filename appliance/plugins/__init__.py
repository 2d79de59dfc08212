"""The names that plugins import: ``hook`` marks hooks, the others are types of their arguments and results."""

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
