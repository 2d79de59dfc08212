import os
import signal
import socket
import subprocess
import sys
import urllib.request

import pytest
from click.testing import CliRunner

from appliance.cli.localnet import localnet
from appliance.crypto import decode_cbor
from appliance.localnet.net import Localnet

RUN = "from appliance.cli.localnet import localnet; localnet()"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_until_interrupted(number: signal.Signals) -> None:
    command = [sys.executable, "-c", RUN, "--port", "0", "--seed", "cli", "--subnet"]
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:  # noqa: S603
        try:
            assert process.stdout is not None
            lines = dict(process.stdout.readline().split(None, 1) for _ in range(1))
            url = lines["url:"].strip()
            with urllib.request.urlopen(f"{url}/api/v2/status") as response:  # noqa: S310
                status = decode_cbor(response.read())
            assert status["root_key"] == Localnet(seed=b"cli").root_key  # type: ignore[index]
            assert status["root_key"].hex() in process.stdout.readline()  # type: ignore[index]
            assert "bkyz2-fmaaa-aaaaa-qaaaq-cai" in process.stdout.readline()
        finally:
            process.send_signal(number)
        assert process.wait(20) == 0


def test_a_taken_port_is_said_in_a_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = CliRunner().invoke(localnet, ["--port", str(port)])
    assert result.exit_code == 1
    assert f"cannot listen on port {port}" in result.output
