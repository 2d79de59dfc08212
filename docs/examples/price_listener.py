"""Prints prices as a market's canister pushes them, through whichever of several gateways serves.

python price_listener.py CANISTER NETWORK_URL SYMBOL[,SYMBOL…] GATEWAY_URL…
"""

import asyncio
import sys
from pathlib import Path

from icws import Backoff, CandidError, Connection, GatewayError, Lost, Message, Restored, RetryFailed, connect

INTERFACE = Path(__file__).with_name("prices.did")
PATIENCE = Backoff(first=0.2, longest=10, attempts=20)


async def main(canister: str, network_url: str, symbols: list[str], gateways: list[str]) -> None:
    """Listen until the market closes."""
    async with connect(
        gateways, canister, network_url=network_url, message_type=INTERFACE, reconnect=PATIENCE
    ) as market:
        await market.send({"Subscribe": symbols})
        await follow(market, symbols)


async def follow(market: Connection, symbols: list[str]) -> None:
    """Every price is certified by the canister: a gateway can neither make one up nor leave one out."""
    async for event in market.events():
        match event:
            case Message(value={"Price": price}):
                print(f"{price['symbol']} {price['price']:.2f}", flush=True)
            case Lost(gateway, cause):
                print(f"lost {gateway}: {cause}", file=sys.stderr)
            case RetryFailed(gateway, cause):
                print(f"cannot have {gateway}: {cause}", file=sys.stderr)
            case Restored(gateway):
                print(f"continued at {gateway}", file=sys.stderr)
                await market.send({"Subscribe": symbols})  # the canister has forgotten what the old session wanted


if __name__ == "__main__":
    if len(sys.argv) < 5:
        sys.exit(__doc__)
    try:
        asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3].split(","), sys.argv[4:]))
    except CandidError as error:
        sys.exit(f"{sys.argv[1]} is no market, its messages are not those of {INTERFACE.name}: {error}")
    except GatewayError as error:
        sys.exit(f"{type(error).__name__}: {error}")
    except KeyboardInterrupt:
        pass
