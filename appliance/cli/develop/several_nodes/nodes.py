"""The nodes: gateways of this installation, each a process with a folder of its own."""

import asyncio
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from appliance.cli.develop.examples import LOCAL_CONNECTIONS
from appliance.cli.develop.several_nodes.programs import Program
from appliance.cli.output.text_file import write_text
from appliance.control.client import Client, ControlError, path_to
from appliance.control.models import Nodes, Session, Sessions, Status
from appliance.ic.principal import Principal
from appliance.localnet.net import Localnet

GIVE_UP_AFTER_S = 5.0
"""Instead of the 30 s of the default, which nobody wants to wait for here."""


class GatewayNode:
    """One gateway of the cluster. Its file is what an operator would write, as JSON, which is YAML, too."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.url = ""
        """Where clients connect; known from the first start on, and kept."""
        self.file = folder / "gateway.yaml"
        self.socket = folder / "control.sock"
        command = [sys.executable, "-m", "appliance.cli", "run", "--config", str(self.file)]
        self.program = Program(f"node {name}", command, folder / "log")
        self._api = Client(f"unix:{self.socket}", timeout_s=10.0)

    def configure(self, net: Localnet, canister: Principal, *, identity: Path, engine: str) -> None:
        """Write its configuration."""
        folder = self.file.parent
        settings: dict[str, Any] = {
            "gateway": {
                "listen": urlsplit(self.url).netloc or "127.0.0.1:0",
                "identity": str(identity),
                "journal": str(folder / "journal"),
                "health": True,
                "trusted_proxies": ["127.0.0.1"],
                "max_connections": LOCAL_CONNECTIONS,
            },
            "network": {"url": [net.url], "root_key": net.root_key.hex()},
            "canisters": [{"id": str(canister), "name": "ping-pong"}],
            "control": {"listen": [f"unix:{self.socket}"], "history": None},
            "cluster": {
                "url": engine,
                "node": self.name,
                "peer": f"unix:{folder / 'peer.sock'}",
                "give_up_after": f"{GIVE_UP_AFTER_S:g}s",
            },
        }
        write_text(self.file, json.dumps(settings, indent=2))

    async def find_url(self) -> bool:
        """Ask where it listens. False while it does not answer."""
        try:
            self.url = (await asyncio.to_thread(self._api.get, Status, path_to("status"))).url
        except ControlError:
            return False
        return True

    async def nodes(self) -> Nodes | None:
        """The cluster as this node sees it. None while it does not answer."""
        try:
            return await asyncio.to_thread(self._api.get, Nodes, path_to("nodes"))
        except ControlError:
            return None

    async def sessions(self) -> Sequence[Session]:
        """Those of all nodes that answer. Raises ControlError."""
        found = await asyncio.to_thread(self._api.get, Sessions, path_to("sessions"), node="*", limit=1000)
        return found.items
