"""``icws cert`` on real certificates."""

import asyncio
import json
import time
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType

import pytest
from click.testing import CliRunner, Result

from appliance.cli.main import main
from appliance.crypto import encode_cbor
from appliance.ic.principal import Principal
from tests.ic.scripted_ic import NOW_NS, ROOT, STRANGER, ScriptedIc, TestTime, cbor, certificate, leb128, state

CANISTER = Principal(b"\x80\0\0\0\0\x10\0\0\x01\x01")
KEY = ROOT.public_key.hex()


def show(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["cert", "show", *map(str, arguments)])


@pytest.fixture
def file(tmp_path: Path) -> Path:
    labels = {
        b"canister": {
            CANISTER: {
                b"controllers": encode_cbor([CANISTER, b"\x04"]),
                b"module_hash": bytes(range(32)),
                b"metadata": {b"candid:service": b"service : {}" * 20},
            }
        },
        b"request_status": {bytes(32): {b"status": b"rejected", b"reject_code": leb128(5), b"reply": b"DIDL\0\0"}},
    }
    path = tmp_path / "certificate.cbor"
    path.write_bytes(certificate(labels, time_ns=NOW_NS))
    return path


def test_a_certificate_is_shown_in_plain_words(file: Path) -> None:
    result = show(file, "--root-key", KEY)
    assert result.exit_code == 0, result.output
    assert "time:        2023-11-14 22:13:20.000000000 UTC" in result.stdout
    assert "signed by:   the root key" in result.stdout
    assert "verdict:     valid under root key" in result.stdout
    lines = result.stdout.split("tree:\n")[1].splitlines()
    for line in [
        "  canister/",
        f"    {CANISTER}/",
        f"      controllers = {CANISTER}, 2vxsx-fae",
        f"      module_hash = 0x{bytes(range(32)).hex()}",
        f"    0x{bytes(32).hex()}/",
        "      reject_code = 5",
        "      reply = 0x4449444c0000",
        "  time = 2023-11-14 22:13:20.000000000 UTC",
    ]:
        assert line in lines
    assert "… (240 bytes)" in result.stdout


def test_a_program_gets_the_verdict(file: Path) -> None:
    found = json.loads(show(file, "--root-key", KEY, "--json").stdout)
    assert (found["holds"], found["problem"], found["subnet"], found["time_ns"]) == (True, None, None, NOW_NS)
    assert found["bytes"] == file.stat().st_size
    other = show(file, "--json")
    assert other.exit_code == 1
    assert json.loads(other.stdout)["problem"].startswith("certificate signature is not valid")


def test_a_read_state_reply_is_as_good_as_its_certificate(file: Path) -> None:
    plain = show(file, "--root-key", KEY).stdout
    file.write_bytes(encode_cbor({"certificate": file.read_bytes()}))
    assert show(file, "--root-key", KEY).stdout == plain


def test_a_certificate_under_another_key_does_not_hold(tmp_path: Path, file: Path) -> None:
    forged = tmp_path / "forged.cbor"
    forged.write_bytes(certificate({}, time_ns=NOW_NS, key=STRANGER))
    for result in (show(forged, "--root-key", KEY), show(file)):
        assert result.exit_code == 1
        assert "verdict:     NOT VALID: certificate signature" in result.stdout
        assert "  time = 2023" in result.stdout


def test_age_is_judged_where_asked(file: Path) -> None:
    result = show(file, "--root-key", KEY, "--max-age", "5m")
    assert result.exit_code == 1
    assert "is the clock right?" in result.stdout


@pytest.mark.parametrize("content", [b"", b"\xff", b"\xa0", b"\x80", b"hello" * 100])
def test_what_is_no_certificate_ends_with_a_sentence(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    result = show(path)
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: ")
    assert isinstance(result.exception, SystemExit)


def test_a_truncated_certificate_ends_with_a_sentence(file: Path) -> None:
    whole = file.read_bytes()
    for length in range(0, len(whole), 37):
        file.write_bytes(whole[:length])
        result = show(file, "--root-key", KEY)
        assert result.exit_code == 1
        assert isinstance(result.exception, SystemExit)


def test_a_missing_file_ends_with_a_sentence(tmp_path: Path) -> None:
    result = show(tmp_path / "none")
    assert (result.exit_code, "No such file" in result.stderr) == (1, True)


@pytest.mark.parametrize(
    "options",
    [
        ["--canister", "nonsense"],
        ["--max-age", "5"],
        ["--max-age", "999999999999d"],
        ["--root-key", "xyz"],
        ["--root-key", "fetch"],
    ],
)
def test_wrong_usage_exits_with_2(file: Path, options: list[str]) -> None:
    assert show(file, *options).exit_code == 2


def test_published_certificates_have_their_verdicts(vectors: ModuleType) -> None:
    """Real ones of the mainnet, and forgeries of them."""
    for entry in vectors.load_json("certificates/certificates.json")["certificates"]:
        path = vectors.path(f"certificates/{entry['file']}")
        canisters = [check for check in entry["checks"] if check["kind"] == "canister"]
        for check in canisters:
            result = show(path, "--canister", check["effective_id"])
            assert result.exit_code == (check["verdict"] != "valid"), (entry["file"], check, result.output)
        day = datetime.fromtimestamp(entry["time_ns"] // 10**9, UTC).date()
        assert day.isoformat() in show(path).stdout


async def show_url(*arguments: str) -> Result:
    return await asyncio.to_thread(show, *arguments)


@pytest.fixture
def now() -> TestTime:
    clock = TestTime()
    clock.now_ns = time.time_ns()
    return clock


async def test_an_endpoint_is_asked_for_a_certificate(now: TestTime) -> None:
    async with ScriptedIc(now) as ic:
        asked: list[list[list[bytes]]] = []

        def labels(paths: list[list[bytes]]) -> dict[bytes, object]:
            asked.append(paths)
            return {}

        ic.script(state(labels, time_ns=now.now_ns))
        result = await show_url(
            ic.url,
            "--root-key",
            KEY,
            "--canister",
            str(CANISTER),
            "--path",
            "time",
            "--path",
            f"canister/{CANISTER}/0xff",
        )
        assert result.exit_code == 0, result.output
        assert asked == [[[b"time"], [b"canister", CANISTER, b"\xff"]]]
        assert f"valid for canister {CANISTER}" in result.stdout


async def test_an_old_certificate_of_an_endpoint_does_not_hold(now: TestTime) -> None:
    async with ScriptedIc(now) as ic:
        ic.script(state(lambda _: {}, time_ns=now.now_ns - 301 * 10**9))
        result = await show_url(ic.url, "--root-key", KEY)
        assert result.exit_code == 1
        assert "NOT VALID" in result.stdout


async def test_a_fetched_key_is_warned_about(now: TestTime) -> None:
    async with ScriptedIc(now) as ic:
        ic.script(lambda _: cbor({"root_key": ROOT.public_key}), state(lambda _: {}, time_ns=now.now_ns))
        result = await show_url(ic.url, "--root-key", "fetch")
        assert result.exit_code == 0, result.output
        assert "warning: the root key is fetched" in result.stderr


async def test_an_endpoint_that_is_not_there_ends_with_a_sentence(unused_tcp_port: int) -> None:
    result = await show_url(f"http://127.0.0.1:{unused_tcp_port}")
    assert result.exit_code == 1
    assert "does not answer" in result.stderr
