"""The sockets of the workers are bound once, and closed when nobody uses them."""

import socket
from pathlib import Path

import pytest

from appliance.supervisor.sockets import Sockets


def test_an_address_is_bound_once_for_all() -> None:
    sockets = Sockets()
    first = sockets.at(socket.AF_INET, ("127.0.0.1", 0))
    assert sockets.at(socket.AF_INET, ("127.0.0.1", 0)) is first
    assert first.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    assert not sockets.outlive
    with pytest.raises(OSError, match="cannot listen"):
        Sockets().at(socket.AF_INET, first.getsockname())
    sockets.close()
    assert first.fileno() == -1


def test_those_that_no_worker_uses_are_closed_with_their_files(tmp_path: Path) -> None:
    sockets = Sockets()
    path = tmp_path / "clients.sock"
    used = sockets.at(socket.AF_INET, ("127.0.0.1", 0))
    unused = sockets.at(socket.AF_UNIX, str(path))
    assert path.is_socket()
    sockets.keep({used.getsockname()})
    assert unused.fileno() == -1
    assert not path.exists()
    assert used.fileno() >= 0
    sockets.close()
