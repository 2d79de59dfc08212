"""Which root key a client trusts."""

from appliance.crypto import Verifier
from appliance.errors import KeyUnusable
from appliance.ic.endpoints import is_mainnet
from appliance.ic.network import resolve_root_key
from appliance.ic.transport import HttpTransport

_MAINNET_URL = "https://icp-api.io"
_TIMEOUT_S = 15.0
_MAX_STATUS = 64 * 1024  # bytes; a real one has about 300


async def verifier_for(root_key: bytes | str | None, network_url: str | None) -> Verifier:
    """A verifier for a root key: DER bytes, 266 hexadecimal digits, ``mainnet``, or ``fetch`` from `network_url`.

    None means ``fetch`` where the URL is one of another network than the mainnet, else ``mainnet``. Raises KeyUnusable,
    ConfigError for a setting that is none of these, or an IcError where the key cannot be fetched.
    """
    if isinstance(root_key, bytes):
        return Verifier(root_key)
    url = network_url or _MAINNET_URL
    setting = root_key or ("mainnet" if is_mainnet(url) else "fetch")
    if setting == "fetch" and network_url is None:
        raise KeyUnusable("root_key 'fetch' needs a network_url to fetch from")
    async with HttpTransport([url], timeout_s=_TIMEOUT_S, max_reply=_MAX_STATUS) as transport:
        return Verifier(await resolve_root_key(setting, transport))
