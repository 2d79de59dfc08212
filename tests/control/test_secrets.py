"""No secret comes out: in no answer of the API, to an admin either, in no line of the log, and in no dump."""

import base64
import os
import tarfile
from pathlib import Path

import pytest

from tests.cli.conftest import Icws
from tests.control.plane import SECRETS, Plane, running
from tests.control.test_app import OPERATIONS, way_of


def secrets_of(key: Path) -> list[str]:
    """A key in each way that it could be written."""
    body = "".join(line for line in key.read_text().splitlines() if not line.startswith("-----"))
    der = base64.b64decode(body)
    seed = der[-32:]
    return [body, body[-44:], seed.hex(), seed.hex().upper(), base64.b64encode(seed).decode(), repr(seed)[2:-1]]


async def everything_of(plane: Plane) -> str:
    """All that a GET answers."""
    said = []
    for operation in OPERATIONS:
        method, path = way_of(operation)
        if method == "GET" and path != "/v1/events":
            said.append((await plane.http.get(path)).text)
    said += [(await plane.http.get(path)).text for path in ("/", "/metrics")]
    return "\n".join(said)


async def test_no_secret_comes_out(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    more = "log: {level: debug}\n"
    async with running(tcp=True, more=more) as plane:
        key = plane.file.parent / "data" / "identity.pem"
        secrets = [*secrets_of(key), *SECRETS.values()]
        async with plane.connect() as session:
            await session.receive()
            said = await everything_of(plane)
            icws = Icws(plane)
            icws.environment |= {"ICWS_URL": plane.control.url, "ICWS_TOKEN": SECRETS["admin"]}
            await icws("identity", "new", tmp_path / "new.pem")
            secrets += secrets_of(tmp_path / "new.pem")
            os.replace(tmp_path / "new.pem", key)
            await plane.post("/v1/config/apply", {})
            said += await everything_of(plane)
        await icws("support-dump", "-o", tmp_path / "dump.tar.gz")
        with tarfile.open(tmp_path / "dump.tar.gz") as archive:
            streams = [stream for member in archive if (stream := archive.extractfile(member)) is not None]
            said += "\n".join(stream.read().decode() for stream in streams)
    log = capfd.readouterr()
    assert "the identity is rotated" in log.err
    assert [secret for secret in secrets if secret in said + log.err + log.out] == []
