"""The addresses that a running gateway has."""

from collections.abc import Callable
from urllib.parse import urlsplit

from appliance.config.fields.address import TcpAddress, UnixAddress
from appliance.config.schema import Config
from appliance.control.client import UNIX, Client, ControlError, ControlRefused, path_to
from appliance.control.models import Status

TIMEOUT_S = 2.0

Address = TcpAddress | UnixAddress


def held_addresses(config: Config) -> Callable[[Address], bool]:
    """Whether the gateway that answers at ``control.listen`` listens at an address.

    Without a token a gateway over TCP says nothing of its addresses: then all of the configuration's count as its own.
    """
    for listen in sorted(config.control.listen, key=lambda listen: not listen.startswith(UNIX)):
        client = Client(listen if listen.startswith(UNIX) else f"http://{listen}", timeout_s=TIMEOUT_S)
        try:
            urls = [*client.get(Status, path_to("status")).urls, *config.control.listen]
        except ControlRefused:
            return lambda _: True
        except ControlError:
            continue
        return lambda address: any(_is_at(url, address) for url in urls)
    return lambda _: False


def _is_at(url: str, address: Address) -> bool:
    """Whether an address, as it is configured, leads to a URL for clients: for all addresses that names one."""
    if isinstance(address, UnixAddress):
        return url == str(address)
    return not url.startswith(UNIX) and urlsplit(url if "://" in url else f"//{url}").port == address.port
