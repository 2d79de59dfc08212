"""``icws identity`` on real files."""

import json
import stat
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from appliance.cli.main import main
from appliance.crypto import SigningKey
from appliance.ic.identity import KeyIdentity
from appliance.ic.key_file import load_identity


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["identity", *map(str, arguments)])


@pytest.mark.parametrize("scheme", ["ed25519", "secp256k1", "prime256v1"])
def test_new_makes_a_private_file_and_shows_the_public_half(tmp_path: Path, scheme: str) -> None:
    path = tmp_path / "data" / "identity.pem"
    result = run("new", path, "--scheme", scheme)
    made = load_identity(path)
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        f"Gateway Agent principal: {made.principal}",
        f"scheme: {scheme}",
        f"public key (DER): {made.public_key.hex()}",
    ]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_new_overwrites_nothing(tmp_path: Path) -> None:
    path = tmp_path / "identity.pem"
    run("new", path)
    before = path.read_bytes()
    result = run("new", path)
    assert result.exit_code == 1
    assert "exists already" in result.stderr
    assert path.read_bytes() == before


def test_show_says_the_same_as_new(tmp_path: Path) -> None:
    path = tmp_path / "identity.pem"
    made = run("new", path)
    shown = run("show", path)
    assert (shown.exit_code, shown.stdout, shown.stderr) == (0, made.stdout, "")


def test_a_program_gets_the_public_half(tmp_path: Path) -> None:
    path = tmp_path / "identity.pem"
    made = json.loads(run("new", path, "--json").stdout)
    identity = load_identity(path)
    assert made == json.loads(run("show", path, "--json").stdout)
    assert made == {
        "principal": str(identity.principal),
        "scheme": "ed25519",
        "public_key": identity.public_key.hex(),
    }


def test_show_warns_of_a_file_that_others_can_read(tmp_path: Path) -> None:
    path = tmp_path / "identity.pem"
    run("new", path)
    path.chmod(0o644)
    result = run("show", path)
    assert result.exit_code == 0
    assert "warning" in result.stderr
    assert "chmod 600" in result.stderr


def test_import_keeps_the_principal_of_a_reference_gateway(tmp_path: Path) -> None:
    """Its ``data/key_pair`` is binary PKCS#8 v2."""
    seed = bytes(range(32))
    key = SigningKey.from_secret("ed25519", seed)
    source, path = tmp_path / "key_pair", tmp_path / "identity.pem"
    public = key.public_key[-32:]
    source.write_bytes(bytes.fromhex("3053020101300506032b657004220420") + seed + b"\xa1\x23\x03\x21\x00" + public)
    result = run("import", source, path)
    assert result.exit_code == 0
    assert f"Gateway Agent principal: {KeyIdentity(key).principal}" in result.stdout
    assert load_identity(path).public_key == key.public_key


def test_the_private_key_is_never_shown(tmp_path: Path) -> None:
    seed = bytes(range(32))
    key = KeyIdentity(SigningKey.from_secret("ed25519", seed))
    source, copy = tmp_path / "source.pem", tmp_path / "copy.pem"
    source.write_bytes(key.to_pem())
    secret_lines = key.to_pem().decode().splitlines()[1:-1]
    for result in (run("show", source), run("import", source, copy), run("show", copy)):
        assert seed.hex() not in result.output
        assert not any(line in result.output for line in secret_lines)


@pytest.mark.parametrize("content", [None, b"", b"no key"])
def test_what_is_no_key_ends_with_a_sentence(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "identity.pem"
    if content is not None:
        path.write_bytes(content)
    result = run("show", path)
    assert result.exit_code == 1
    assert "identity.pem" in result.stderr
    assert "Traceback" not in result.output


def test_the_file_is_the_configurations_unless_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("new").exit_code == 0
    assert (tmp_path / "data" / "identity.pem").exists()
