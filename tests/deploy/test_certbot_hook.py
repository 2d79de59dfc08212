"""What certbot runs after a renewal gives the gateway the new certificate, without a session lost."""

import grp
import os
import ssl
import sys
from collections.abc import Callable
from pathlib import Path

from appliance.client import connect
from appliance.localnet.websocket.pingpong import APP_MESSAGE
from tests.control.plane import running
from tests.deploy.programs import DEPLOY, output


async def make_pair(tool: Callable[[str], str], folder: Path, days: int) -> None:
    """As certbot names the files."""
    os.mkdir(folder)
    make = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", days]
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    files = ["-keyout", folder / "privkey.pem", "-out", folder / "fullchain.pem"]
    code, said = await output(tool("openssl"), *make, *names, *files)
    assert code == 0, said


async def hook(folder: Path, lineage: Path) -> tuple[int, str]:
    """Its exit code and output; ``icws`` is that of this environment."""
    icws = folder / "icws"
    icws.write_text(f'#!/bin/sh\nexec {sys.executable} -m appliance.cli "$@"\n')
    icws.chmod(0o755)
    environment = {"RENEWED_LINEAGE": lineage, "ICWS_TLS_FOLDER": folder, "ICWS": icws}
    environment["ICWS_TLS_GROUP"] = grp.getgrgid(os.getegid()).gr_name
    given = [f"{name}={value}" for name, value in environment.items()]
    return await output("/usr/bin/env", *given, DEPLOY / "certbot-hook.sh")


async def test_a_renewed_certificate_is_served_and_no_session_is_dropped(tool: Callable[[str], str]) -> None:
    def edit(text: str) -> str:
        tls = 'listen: "127.0.0.1:0", tls: {certificate: tls.pem, key: tls.key}'
        return text.replace('listen: "127.0.0.1:0"', tls, 1)

    async with running() as plane:
        folder = plane.file.parent
        await make_pair(tool, folder / "first", 1)
        await make_pair(tool, folder / "second", 2)
        await make_pair(tool, folder / "broken", 3)
        plane.file.write_text(edit(plane.file.read_text()))
        code, said = await hook(folder, folder / "first")
        assert code == 0, said
        assert (folder / "tls.key").stat().st_mode & 0o777 == 0o640
        before = plane.control.listener.tls.expires_at
        trust = ssl.create_default_context(cafile=folder / "first" / "fullchain.pem")
        options = {"network_url": plane.localnet.url, "message_type": APP_MESSAGE}
        url = plane.control.listener.url
        async with connect(url, plane.canister_id, **options, ssl=trust) as session:
            await session.receive()
            assert (await hook(folder, folder / "second"))[0] == 0
            renewed = plane.control.listener.tls.expires_at
            assert before is not None
            assert renewed is not None
            assert renewed > before
            trust = ssl.create_default_context(cafile=folder / "second" / "fullchain.pem")
            async with connect(url, plane.canister_id, **options, ssl=trust) as newer:
                await newer.receive()
            (folder / "broken" / "privkey.pem").write_bytes((folder / "first" / "privkey.pem").read_bytes())
            code, said = await hook(folder, folder / "broken")
            assert (code, "is not the key of the certificate" in said) == (78, True)
            assert plane.control.listener.tls.expires_at == renewed
            await session.send({"text": "still here", "timestamp": 0})
            assert (await session.receive()).value["text"] == "still here ping"
