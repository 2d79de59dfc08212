import socket

import pytest

from appliance.cli.loop import free_port


def test_a_taken_port_is_replaced_by_any(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert free_port(port) == 0
    assert capsys.readouterr().err == f"port {port} is taken, using a free one\n"
    assert free_port(port) == port
