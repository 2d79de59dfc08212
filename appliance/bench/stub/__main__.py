"""``python -m appliance.bench``: the stub IC by itself, until its input ends. Its first line says where it is."""

import asyncio
import json
import sys
from typing import Any

from appliance.bench.stub_ic import Conditions, StubIc, new_replica


async def serve(options: dict[str, Any]) -> None:
    """Serve with these options: ``seed``, ``page_size``, ``block_s`` and ``like_mainnet``."""
    conditions = Conditions.like_mainnet() if options.get("like_mainnet") else Conditions(options.get("block_s", 0.0))
    replica = new_replica(options.get("seed"), options.get("page_size", 50))
    async with StubIc(replica, conditions) as stub:
        print(json.dumps({"url": stub.url, "root_key": replica.authority.root_key.hex()}), flush=True)
        await asyncio.to_thread(sys.stdin.read)


def main() -> None:
    """Run it on the fastest loop that is installed."""
    try:
        from uvloop import new_event_loop
    except ImportError:
        from asyncio import new_event_loop
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(serve(json.loads(sys.argv[1]) if len(sys.argv) > 1 else {}))


if __name__ == "__main__":
    main()
