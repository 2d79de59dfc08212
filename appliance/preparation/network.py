"""Examines the root key of the network, which an endpoint may have to be asked for."""

from collections.abc import AsyncIterator

from appliance.config.schema import Config
from appliance.errors import ConfigError, IcError, ReplyError
from appliance.ic.http.transport import HttpTransport
from appliance.ic.network import resolve_root_key
from appliance.preparation.finding import Finding

KEY = "network.root_key"


async def root_key(config: Config) -> AsyncIterator[Finding]:
    """Whether the root key is known, or an endpoint states it."""
    network = config.network
    async with HttpTransport(network.url, timeout_s=network.timeout, max_reply=network.max_reply) as transport:
        try:
            await resolve_root_key(network.root_key, transport)
        except ConfigError as error:
            for each in error.problems:
                yield Finding(KEY, each.problem)
        except (IcError, ReplyError) as error:
            yield Finding(KEY, f"the key cannot be fetched: {error}; is the network of network.url up?", passes=True)
