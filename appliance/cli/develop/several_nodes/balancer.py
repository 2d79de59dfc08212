"""HAProxy in front of the nodes, as docs/deploy/haproxy.cfg has it."""

import asyncio
import socket
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from appliance.cli.develop.several_nodes.programs import Program
from appliance.cli.output.text_file import write_text

PACKAGES = "Debian, Ubuntu: `apt install haproxy`; macOS: `brew install haproxy`"
"""Where it comes from."""

_TEXT = """\
global
    stats socket {folder}/haproxy.sock

defaults
    mode http
    timeout connect 5s
    timeout client 75s
    timeout server 75s
    timeout tunnel 1h

frontend clients
    bind fd@{fd}
    default_backend gateways

backend gateways
    balance leastconn
    option forwardfor
    option httpchk HEAD /readyz
    # A node that was killed has the least connections of all: without this every newcomer would be sent there until the
    # checks notice.
    option redispatch 1
    default-server check inter 500ms fall 2 rise 1
{servers}
"""

_STATUS = 17
"""Of a server, in a line of ``show stat`` (HAProxy Management Guide, section 9.1)."""


class Balancer:
    """HAProxy at a socket of ours, so that nobody else can take its port meanwhile. Raises OSError for a port that is
    taken."""

    def __init__(self, program: str, folder: Path, port: int) -> None:
        self._socket = socket.create_server(("127.0.0.1", port))
        self._file = folder / "haproxy.cfg"
        self.program = Program("HAProxy", [program, "-db", "-f", str(self._file)], folder / "haproxy.log")

    @property
    def url(self) -> str:
        """Where clients connect."""
        return f"ws://127.0.0.1:{self._socket.getsockname()[1]}"

    def start(self, nodes: Mapping[str, str]) -> None:
        """Serve these nodes, URLs by name."""
        lines = [f"    server {name} {urlsplit(url).netloc}" for name, url in nodes.items()]
        fd = self._socket.fileno()
        write_text(self._file, _TEXT.format(fd=fd, folder=self._file.parent, servers="\n".join(lines)))
        self.program.start(pass_fds=[fd])

    async def uses(self, name: str) -> bool:
        """Whether it sends clients to a node."""
        try:
            reader, writer = await asyncio.open_unix_connection(self._file.parent / "haproxy.sock")
        except OSError:
            return False
        try:
            writer.write(b"show stat\n")
            lines = (await reader.read()).decode().splitlines()
        finally:
            writer.close()
        rows = (line.split(",") for line in lines)
        return any(row[1:2] == [name] and row[_STATUS].startswith("UP") for row in rows)

    async def stop(self) -> None:
        """End it."""
        await self.program.stop()
        self._socket.close()
