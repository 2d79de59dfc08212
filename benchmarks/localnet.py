"""The localnet of the end-to-end run, in a process of its own: prints where it is, and serves until its input ends."""

import asyncio
import json
import sys

from appliance.cli import loop
from appliance.ic.principal import Principal
from appliance.localnet.canisters.canister import Environment
from appliance.localnet.net import Localnet
from appliance.localnet.websocket.pingpong import PingPong


class Burst(PingPong):
    """Answers ``burst <n>`` with n messages at once, everything else as ping-pong does."""

    def on_message(self, env: Environment, client: Principal, message: bytes) -> None:
        """Answer once or often."""
        text = self._read(message)["text"]
        if not text.startswith("burst "):
            super().on_message(env, client, message)
            return
        for number in range(int(text.removeprefix("burst "))):
            self._send_text(env, client, f"message {number}")


async def main() -> None:
    async with Localnet() as net:
        canister = net.create_canister(Burst())
        print(json.dumps({"url": net.url, "root_key": net.root_key.hex(), "canister": str(canister)}), flush=True)
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    loop.run(main())
