"""Everything that can go wrong, as one tree of exceptions."""

from appliance.errors.session import *  # noqa: F403
