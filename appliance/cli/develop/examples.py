"""The canisters that ``icws localnet --example`` runs, and the chat page of a clone."""

from pathlib import Path

from appliance.ic.principal import Principal
from appliance.localnet.websocket.canister import WebSocketCanister
from appliance.localnet.websocket.chat import Chat
from appliance.localnet.websocket.dialect import Generation
from appliance.localnet.websocket.pingpong import PingPong
from appliance.localnet.websocket.prices import Prices

PING_PONG = "ping-pong"
EXAMPLES = (PING_PONG, "chat", "prices")
LOCAL_CONNECTIONS = 500
"""Of the gateway in front of a local network. That of a service would want more open files than a login usually has."""
CHAT_SOURCE = Path(__file__).parents[3] / "demo" / "web"
"""Of the chat page. Only a clone of the repository has it."""
CHAT_PAGE = CHAT_SOURCE / "dist"


def make_example(name: str, *, generation: Generation = "v2", gateway: Principal | None = None) -> WebSocketCanister:
    """Return a new canister. Raises ValueError for a generation that the example does not speak."""
    if name == PING_PONG:
        return PingPong(generation=generation, gateway=gateway)
    if generation != "v2":
        raise ValueError(f"the example {name} speaks v2 only; ping-pong speaks every generation")
    return Chat() if name == "chat" else Prices()


def chat_page_hint(page: Path = CHAT_PAGE) -> str:
    """Return how to get the chat page that is not there."""
    if page.parent.is_dir():
        return "not built; `make chat` builds it (needs Node.js 20 or newer and npm) and starts this again"
    return "not in this installation; a clone of the repository has it (docs/browser.md)"
