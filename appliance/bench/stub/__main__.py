"""``python -m appliance.bench.stub [PORT [SEED]]``: serves the stub IC until its input ends.

The first line of its output is a JSON object with ``url`` and ``root_key``.
"""

import asyncio
import json
import sys
from collections.abc import Callable

from appliance.bench.stub.serving import serving

new_event_loop: Callable[[], asyncio.AbstractEventLoop]
try:
    from uvloop import new_event_loop
except ImportError:  # there are no wheels for every platform
    from asyncio import new_event_loop


async def serve(port: int, seed: str | None) -> None:
    """Serve until the input ends: then the process that started this one is gone, however it ended."""
    async with serving(port, seed) as stub:
        print(json.dumps({"url": stub.url, "root_key": stub.replica.authority.root_key.hex()}), flush=True)
        await asyncio.to_thread(sys.stdin.read)


def main() -> None:
    """Run it."""
    port, seed = (*sys.argv[1:], *("0", "")[len(sys.argv) - 1 :])[:2]
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(serve(int(port), seed or None))


if __name__ == "__main__":
    main()
