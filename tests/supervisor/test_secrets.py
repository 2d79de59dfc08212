"""The certificate and the identity are replaced while several workers serve."""

import asyncio
import os
import socket
import ssl
from pathlib import Path

import pytest

from appliance.client import connect
from appliance.control.client import ConfigRefused
from appliance.control.models import Applied, ApplyRequest, Status
from appliance.ic.key_file import create_identity
from appliance.localnet.websocket.pingpong import APP_MESSAGE
from tests.gateway.conftest import self_signed
from tests.supervisor.workplace import Workplace, house, stopped, working


async def test_all_workers_use_what_was_rotated_and_none_a_pair_that_does_not_fit(tmp_path: Path) -> None:
    """By the next handshake and the next session. The session that is open stays."""
    (certificate, key), other = self_signed(tmp_path), self_signed(_folder(tmp_path / "other"), days=2)
    trusted = ssl.create_default_context(cafile=str(certificate))
    async with house(tmp_path) as at:
        text = at.file.read_text()
        at.file.write_text(
            text.replace("workers: 2}", f"workers: 2, tls: {{certificate: {certificate}, key: {key}}}}}")
        )
        async with working(at) as place:
            url = place.url.replace("127.0.0.1", "localhost")
            options = {"root_key": at.net.root_key, "message_type": APP_MESSAGE, "ssl": trusted}
            async with connect(url, at.ids["v2"], **options) as session:
                before, principals = await _served(place), await _principals(place)
                assert before == [_of(certificate)] * 2

                certificate.write_bytes(other[0].read_bytes())
                with pytest.raises(ConfigRefused, match=r"gateway\.tls"):
                    await _reload(place)
                assert await _served(place) == before

                key.write_bytes(other[1].read_bytes())
                await _reload(place)
                assert await _served(place) == [_of(other[0])] * 2 != before

                create_identity(tmp_path / "new.pem")
                os.replace(tmp_path / "new.pem", tmp_path / "identity.pem")
                await _reload(place)
                assert len({*principals, *(after := await _principals(place))}) == 2
                assert after[0] == after[1] != principals[0]

                await session.send({"text": "still here", "timestamp": 0})
                while (await session.receive()).value["text"] != "still here ping":
                    pass


def _folder(path: Path) -> Path:
    path.mkdir()
    return path


def _of(certificate: Path) -> bytes:
    return ssl.PEM_cert_to_DER_cert(certificate.read_text())


async def _served(place: Workplace) -> list[bytes]:
    """The certificate that each worker serves, while the other one stands still."""
    found = []
    for one in reversed((await place.workers()).items):
        with stopped(one.pid):
            found.append(await asyncio.to_thread(_handshake, int(place.url.rpartition(":")[2])))
    return found


def _handshake(port: int) -> bytes:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection(("127.0.0.1", port)) as raw, context.wrap_socket(raw) as secured:
        return secured.getpeercert(binary_form=True) or b""


async def _principals(place: Workplace) -> list[str]:
    """Those that the workers tell new clients."""
    return [(await place.ask(place.api.get, Status, "/v1/status", worker=str(n))).gateway_principal for n in (1, 2)]


async def _reload(place: Workplace) -> None:
    await place.ask(place.api.post, Applied, "/v1/config/apply", ApplyRequest())
