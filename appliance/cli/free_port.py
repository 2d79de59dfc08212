"""Ports that may be taken."""

import socket

import click


def free_port(port: int) -> int:
    """The loopback port, or 0 (any) and a sentence about it where somebody has it."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            click.echo(f"port {port} is taken, using a free one", err=True)
            return 0
    return port
