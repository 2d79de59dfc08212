"""The base of all sections of the configuration."""

from pydantic import ConfigDict

from appliance.described import Described


class Section(Described):
    """A part of the configuration: frozen, types as they are written, and an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, arbitrary_types_allowed=True)
