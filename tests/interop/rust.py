"""The agent in Rust: ic-agent and ic-utils from their registry, driven by a small program of ours."""

import asyncio
import json
from pathlib import Path
from typing import Any

from tests.interop.builds import built
from tests.interop.node import PATIENCE_S

FOLDER = Path(__file__).parent / "rust-agent"
PROGRAM = FOLDER / "target" / "rust-agent"


def program() -> Path:
    """The program as it was built last. Raises NotBuilt."""
    sources = [FOLDER / "Cargo.toml", FOLDER / "Cargo.lock", *(FOLDER / "src").iterdir()]
    return built(PROGRAM, sources, "the agent in Rust")


async def steps(options: dict[str, Any]) -> dict[str, Any]:
    """What the program has seen, by step; ``failed`` has the problem of a step that failed. Raises NotBuilt."""
    process = await asyncio.create_subprocess_exec(
        program(), json.dumps(options), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        out, _ = await asyncio.wait_for(process.communicate(), 4 * PATIENCE_S)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    lines = [json.loads(line) for line in out.splitlines()]
    return {line["step"]: line.get("seen", line.get("error")) for line in lines}
