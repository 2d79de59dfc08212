import asyncio
import os
import resource
import socket
from pathlib import Path

import pytest

from appliance.cli.diagnosis.findings import Finding
from appliance.cli.diagnosis.machine import (
    check_addresses,
    check_files,
    check_gateway,
    check_open_files,
    process_id,
)
from appliance.config.schema import Config, Control, Gateway, MoreListener, Relay, Tls
from appliance.control.auth.tokens import Grant, hash_token
from appliance.control.client import Client
from appliance.control.models import Status
from appliance.gateway.calls.scheduler import Kind, Ticket
from appliance.gateway.limits.descriptors import RESERVE
from appliance.ic.key_file import create_identity
from tests.cli.conftest import Icws
from tests.unprivileged import hidden_folder, unprivileged


def config(folder: Path, **gateway: object) -> Config:
    identity = folder / "identity.pem"
    control = Control(listen=f"unix:{folder}/control.sock", history=folder / "history")
    return Config(gateway=Gateway(**{"listen": "127.0.0.1:0", "identity": identity, **gateway}), control=control)  # type: ignore[arg-type]


def by_subject(findings: list[Finding]) -> dict[str, Finding]:
    return {finding.subject: finding for finding in findings}


# --- files ----------------------------------------------------------------------------------------------------------


def test_a_key_that_is_there_and_one_that_is_not(tmp_path: Path):
    absent = by_subject(list(check_files(config(tmp_path))))
    assert (absent["identity"].level, "the first start creates it" in absent["identity"].text) == ("note", True)
    principal = create_identity(tmp_path / "identity.pem").principal
    (found,) = check_files(config(tmp_path))
    assert (found.level, found.text) == ("ok", f"{tmp_path}/identity.pem has the key of {principal}")


def test_a_key_that_others_can_read_or_nobody_can_use(tmp_path: Path):
    create_identity(tmp_path / "identity.pem")
    (tmp_path / "identity.pem").chmod(0o644)
    (found,) = check_files(config(tmp_path))
    assert (found.level, f"run: chmod 600 {tmp_path}/identity.pem" in found.text) == ("fault", True)
    (tmp_path / "identity.pem").write_text("nonsense")
    (found,) = check_files(config(tmp_path))
    assert found.level == "fault"


def test_tls_files_that_do_not_belong_together(tmp_path: Path):
    create_identity(tmp_path / "identity.pem")
    tls = Tls(certificate=tmp_path / "a.pem", key=tmp_path / "b.pem")
    found = by_subject(list(check_files(config(tmp_path, tls=tls))))
    assert found["tls"].level == "fault"
    assert str(tmp_path / "a.pem") in found["tls"].text


def test_a_file_of_tokens(tmp_path: Path):
    create_identity(tmp_path / "identity.pem")
    file = tmp_path / "tokens"
    base = config(tmp_path)
    with_tokens = base.model_copy(update={"control": base.control.model_copy(update={"tokens": file})})
    for text, level in [
        (None, "fault"),
        ("", "warning"),
        ("a b\n", "fault"),
        (f"{Grant('a', 'viewer', hash_token('x'))}\n", "ok"),
    ]:
        if text is not None:
            file.write_text(text)
        assert by_subject(list(check_files(with_tokens)))["tokens"].level == level, text


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_to(tmp_path: Path):
    create_identity(tmp_path / "identity.pem")
    tmp_path.chmod(0o500)
    assert by_subject(list(check_files(config(tmp_path))))["history"].level == "warning"
    tmp_path.chmod(0o700)


def test_what_this_user_may_not_see_ends_no_diagnosis():
    with hidden_folder() as hidden:
        private = config(hidden, listen=f"unix:{hidden}/gateway.sock")
        with unprivileged():
            found = [*check_files(private), *check_addresses(private, None)]
    assert [(each.subject, each.level) for each in found] == [
        ("identity", "fault"),
        ("identity", "warning"),
        ("history", "warning"),
        ("control", "warning"),
        ("address", "fault"),
    ]
    assert "Permission denied" in found[0].text
    assert found[-1].advice == "run this as the gateway's user"


# --- addresses ------------------------------------------------------------------------------------------------------


@pytest.fixture
async def status(icws: Icws) -> Status:
    return Status.model_validate((await icws.json("status"))["status"])


async def test_an_address_that_is_free_and_one_that_is_not(tmp_path: Path, status: Status):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        (found,) = check_addresses(config(tmp_path, listen=address), None)
        assert (found.level, "ss -ltnp" in found.advice) == ("fault", True)
        (found,) = check_addresses(config(tmp_path, listen=address), status)
        assert (found.level, "another process listens" in found.text) == ("warning", True)
    (found,) = check_addresses(config(tmp_path, listen=address), None)
    assert (found.level, found.text) == ("ok", f"{address} is free")
    (found,) = check_addresses(config(tmp_path, listen=address), status)
    assert (found.level, "but a gateway is running" in found.text) == ("warning", True)
    own = status.url.removeprefix("ws://")
    (found,) = check_addresses(config(tmp_path, listen=own), status)
    assert (found.level, found.text) == ("ok", f"{own} is the running gateway's")


def test_addresses_that_cannot_be_had(tmp_path: Path):
    more = [MoreListener(address=address) for address in ("127.0.0.1:0", "203.0.113.7:80", "no-such-name.invalid:80")]
    free, foreign, nowhere, *rest = check_addresses(config(tmp_path, listen="127.0.0.1:0", listeners=more), None)
    assert free.level == "note"
    assert foreign.level == "note"
    assert [finding.level for finding in (nowhere, *rest)] == ["fault", "fault"]


def test_a_socket_in_the_file_system(tmp_path: Path):
    (found,) = check_addresses(config(tmp_path, listen=f"unix:{tmp_path}/a.sock"), None)
    assert found.level == "ok"
    (found,) = check_addresses(config(tmp_path, listen=f"unix:{tmp_path}/none/a.sock"), None)
    assert (found.level, found.advice) == ("fault", f"mkdir -p {tmp_path}/none")
    (tmp_path / "a.sock").write_text("")
    (found,) = check_addresses(config(tmp_path, listen=f"unix:{tmp_path}/a.sock"), None)
    assert (found.level, "is not a socket" in found.text) == ("fault", True)


# --- limits and the gateway that runs -------------------------------------------------------------------------------


def test_open_files_are_enough_or_not(tmp_path: Path):
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    most = 10**6 if hard == resource.RLIM_INFINITY else hard
    beside = RESERVE + Relay().calls
    assert check_open_files(config(tmp_path, max_connections=max(1, min(most - beside, 100))), None).level == "ok"
    if most < 10**6:
        found = check_open_files(config(tmp_path, max_connections=most), None)
        assert (found.level, f"LimitNOFILE={most + beside}" in found.advice) == ("warning", True)
        of_us = check_open_files(config(tmp_path, max_connections=most), os.getpid())
        assert "the running gateway may open" in of_us.text


def test_who_serves_a_socket_is_known(tmp_path: Path):
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "a.sock"))
        server.listen()
        assert process_id(f"unix:{tmp_path}/a.sock") == os.getpid()
    assert process_id(f"unix:{tmp_path}/none") is None
    assert process_id("http://127.0.0.1:1") is None


async def test_a_gateway_that_runs_and_one_that_does_not(icws: Icws):
    url = icws.plane.control.url
    status, findings = await asyncio.to_thread(check_gateway, Client(url))
    assert status is not None
    assert [finding.level for finding in findings] == ["ok"]
    scheduler = icws.plane.gateway.budget.scheduler
    scheduler.add(Ticket(Kind.MESSAGE, b"a", b"b", 1))
    _, findings = await asyncio.to_thread(check_gateway, Client(url))
    assert findings[1].level == "warning"
    assert findings[1].text == "1 call waiting for room: 5 000 may be under way"
    scheduler.start()
    icws.plane.file.write_text(icws.plane.file.read_text() + "odd: 1\n")
    await icws("reload", code=78)
    await icws("drain", "start")
    status, findings = await asyncio.to_thread(check_gateway, Client(url))
    assert {finding.subject: finding.level for finding in findings} == {
        "gateway": "warning",
        "readiness": "fault",
        "last reload": "warning",
    }
    status, findings = await asyncio.to_thread(check_gateway, Client("unix:/none.sock"))
    assert status is None
    assert [finding.level for finding in findings] == ["note"]


async def test_a_gateway_that_wants_a_token(icws_tcp: Icws):
    _, (finding,) = await asyncio.to_thread(check_gateway, Client(icws_tcp.plane.control.url))
    assert (finding.level, "--token-file" in finding.advice) == ("warning", True)
