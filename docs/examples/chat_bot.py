"""A bot in a chat room: answers to its name, and stays through restarts of the gateway and outages of the network.

python chat_bot.py GATEWAY_URL CANISTER [NETWORK_URL [KEY_FILE]]
"""

import asyncio
import sys
from pathlib import Path

from icws import CandidError, Change, GatewayError, Lost, connect, load_identity

NAME = "bot"
INTERFACE = Path(__file__).with_name("chat.did")


def show(change: Change) -> None:
    """A new session is a new client to the canister; the last messages of the old one may not have arrived."""
    print(change, file=sys.stderr)
    if isinstance(change, Lost) and change.unacknowledged:
        print(f"may not have arrived: {change.unacknowledged}", file=sys.stderr)


async def main(url: str, canister: str, network_url: str | None = None, key_file: str | None = None) -> None:
    """Answer until the room closes."""
    async with connect(
        url,
        canister,
        identity=load_identity(key_file) if key_file else None,  # without a key of its own it is a new user each time
        network_url=network_url,
        message_type=INTERFACE,
        reconnect=True,
        on_change=show,
    ) as room:
        print(f"in the room as {room.principal}", file=sys.stderr)
        async for message in room:
            name, text = message.value["name"], message.value["text"]
            print(f"{name}: {text}", flush=True)
            if name != NAME and NAME in text.lower():
                await room.send({"name": NAME, "text": f"Yes, {name}?"})


if __name__ == "__main__":
    if not 3 <= len(sys.argv) <= 5:
        sys.exit(__doc__)
    try:
        asyncio.run(main(*sys.argv[1:]))
    except CandidError as error:
        sys.exit(f"{sys.argv[2]} is no chat room, its messages are not those of {INTERFACE.name}: {error}")
    except GatewayError as error:
        sys.exit(f"{type(error).__name__}: {error}")
    except KeyboardInterrupt:
        pass
