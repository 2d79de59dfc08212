"""Laws of ``ic/key_file.py``."""

import os
import stat
import subprocess
from pathlib import Path

import pytest

from appliance.errors import KeyUnusable
from appliance.ic.identity import (
    KeyIdentity,
    Scheme,
)
from appliance.ic.key_file import (
    create_identity,
    identity_file_problem,
    load_identity,
    load_or_create_identity,
    save_identity,
)
from tests.needs import program

SCHEMES: list[Scheme] = ["ed25519", "secp256k1", "prime256v1"]


@pytest.fixture(params=SCHEMES)
def scheme(request: pytest.FixtureRequest) -> Scheme:
    return request.param  # type: ignore[no-any-return]


def test_a_created_identity_is_loaded_again(tmp_path: Path, scheme: Scheme) -> None:
    path = tmp_path / "deep" / "er" / "identity.pem"
    created = create_identity(path, scheme=scheme)
    loaded = load_identity(path)
    assert (loaded.principal, loaded.scheme) == (created.principal, scheme)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert identity_file_problem(path) is None
    assert os.listdir(path.parent) == ["identity.pem"]


def test_a_key_file_is_private_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        create_identity(tmp_path / "identity.pem")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "identity.pem").stat().st_mode) == 0o600


def test_an_existing_file_is_not_overwritten(tmp_path: Path, identity: KeyIdentity) -> None:
    path = tmp_path / "identity.pem"
    path.write_bytes(b"precious")
    with pytest.raises(KeyUnusable, match="exists already"):
        create_identity(path)
    with pytest.raises(KeyUnusable, match="exists already"):
        save_identity(identity, path)
    assert path.read_bytes() == b"precious"
    assert os.listdir(tmp_path) == ["identity.pem"]


def test_the_first_start_makes_the_identity_and_the_next_finds_it(tmp_path: Path) -> None:
    path = tmp_path / "identity.pem"
    assert load_or_create_identity(path).principal == load_or_create_identity(path).principal


def test_a_broken_file_is_never_replaced(tmp_path: Path) -> None:
    path = tmp_path / "identity.pem"
    path.write_bytes(b"-----BEGIN PRIVATE KEY-----\nbroken\n-----END PRIVATE KEY-----\n")
    with pytest.raises(KeyUnusable, match=r"identity\.pem"):
        load_or_create_identity(path)
    assert b"broken" in path.read_bytes()


def test_a_link_into_nothing_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "identity.pem"
    path.symlink_to(tmp_path / "gone")
    with pytest.raises(KeyUnusable, match=r"identity\.pem"):
        load_or_create_identity(path)


@pytest.mark.parametrize(
    ("content", "problem"), [(b"", "empty"), (b" \n", "empty"), (b"x" * 70_000, "too long"), (b"hello", "identity.pem")]
)
def test_files_that_are_no_keys_are_refused(tmp_path: Path, content: bytes, problem: str) -> None:
    path = tmp_path / "identity.pem"
    path.write_bytes(content)
    with pytest.raises(KeyUnusable, match=problem):
        load_identity(path)


def test_missing_files_and_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(KeyUnusable, match="No such file"):
        load_identity(tmp_path / "none.pem")
    with pytest.raises(KeyUnusable, match="directory"):
        load_identity(tmp_path)
    with pytest.raises(KeyUnusable, match="No such file"):
        identity_file_problem(tmp_path / "none.pem")


def test_a_place_that_cannot_hold_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(KeyUnusable, match="cannot be written"):
        create_identity(tmp_path / "file" / "identity.pem")


@pytest.mark.parametrize("mode", [0o604, 0o660, 0o644, 0o610])
def test_a_file_that_others_may_open_is_a_problem(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "identity.pem"
    create_identity(path)
    path.chmod(mode)
    problem = identity_file_problem(path)
    assert problem is not None
    assert f"{mode:04o}" in problem
    assert problem.endswith(f"run: chmod 600 {path}")
    path.chmod(0o600)
    assert identity_file_problem(path) is None


# --- files that others made -----------------------------------------------------------------------------------------


def openssl(*arguments: str | Path) -> bytes:
    return subprocess.run([program("openssl"), *map(str, arguments)], check=True, capture_output=True).stdout  # noqa: S603


def curve_arguments(scheme: Scheme) -> list[str]:
    if scheme == "ed25519":
        return ["-algorithm", "ed25519"]
    return ["-algorithm", "EC", "-pkeyopt", f"ec_paramgen_curve:{scheme}"]


def test_pkcs8_of_openssl_is_read(tmp_path: Path, scheme: Scheme) -> None:
    pem, der = tmp_path / "key.pem", tmp_path / "key.der"
    openssl("genpkey", *curve_arguments(scheme), "-out", pem)
    openssl("pkey", "-in", pem, "-outform", "DER", "-out", der)
    public_key = openssl("pkey", "-in", pem, "-pubout", "-outform", "DER")
    for path in (pem, der):
        assert load_identity(path).public_key == public_key
        assert load_identity(path).scheme == scheme


@pytest.mark.parametrize("curve", ["secp256k1", "prime256v1"])
def test_sec1_of_openssl_is_read_with_and_without_parameters(tmp_path: Path, curve: str) -> None:
    with_parameters, without = tmp_path / "with.pem", tmp_path / "without.pem"
    openssl("ecparam", "-name", curve, "-genkey", "-out", with_parameters)
    openssl("ec", "-in", with_parameters, "-out", without)
    assert b"EC PARAMETERS" in with_parameters.read_bytes()
    public_key = openssl("ec", "-in", without, "-pubout", "-outform", "DER")
    assert load_identity(with_parameters).public_key == public_key
    assert load_identity(without).public_key == public_key


def test_openssl_reads_what_we_write(tmp_path: Path, scheme: Scheme) -> None:
    path = tmp_path / "identity.pem"
    identity = create_identity(path, scheme=scheme)
    assert openssl("pkey", "-in", path, "-pubout", "-outform", "DER") == identity.public_key


def test_an_encrypted_key_is_refused_and_says_so(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    openssl("genpkey", "-algorithm", "ed25519", "-aes256", "-pass", "pass:secret", "-out", path)
    with pytest.raises(KeyUnusable, match="encrypted"):
        load_identity(path)


def test_the_key_pair_of_the_reference_gateway_is_read(tmp_path: Path) -> None:
    """Binary PKCS#8 v2 (RFC 8410 section 10.3 with the public key), as the library *ring* writes it."""
    seed = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
    public = bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")
    path = tmp_path / "key_pair"
    path.write_bytes(bytes.fromhex("3053020101300506032b657004220420") + seed + bytes.fromhex("a123032100") + public)
    assert load_identity(path).public_key[-32:] == public
