"""Sentences about a configuration that runs, and that is hardly what its operator wants."""

from collections.abc import Iterator

from appliance.config.schema import Config
from appliance.ic.network import root_key_warning

_UNVERIFIED = {
    "certificates": "data of canisters that does not verify is passed on",
    "envelopes": "messages of clients that do not verify are passed on",
    "queries": "replies to polls that no node has signed are believed",
}


def config_warnings(config: Config) -> Iterator[str]:
    """Each warning, as a sentence."""
    if (warning := root_key_warning(config.network.root_key, config.network.url)) is not None:
        yield warning
    if not config.canisters and config.unlisted_canisters == "deny":
        yield "no canister is listed and unlisted ones are denied: no client can open a session"
    for subject, consequence in _UNVERIFIED.items():
        mode = getattr(config.verification, subject)
        if mode != "enforce":
            yield f"verification.{subject} is {mode}: {consequence}"
