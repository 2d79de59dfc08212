import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance._native import SigningKey, verify_signature
from appliance.errors import KeyUnusable
from tests.native.signing import SCHEMES, Scheme, key
from tests.needs import program

# The secret of every key below is the bytes 1 to 32; they protect nothing. The files were written by OpenSSL.
SECRET = bytes(range(1, 33))

ED25519 = b"""-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEIAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8g
-----END PRIVATE KEY-----
"""
SECP256K1 = b"""-----BEGIN EC PARAMETERS-----
BgUrgQQACg==
-----END EC PARAMETERS-----
-----BEGIN EC PRIVATE KEY-----
MHQCAQEEIAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8goAcGBSuBBAAK
oUQDQgAEhL91YiYrvWlACFdI875q+lKuMXFVGB7OMbZjUcz/pLCMxD1jsoWdRp/u
FfMcnttTJCZub9BAfoc4LWD8RRGs2A==
-----END EC PRIVATE KEY-----
"""
PRIME256V1 = b"""-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgAQIDBAUGBwgJCgsM
DQ4PEBESExQVFhcYGRobHB0eHyChRANCAARRXD1uueOWuQTT/sp/VP3NDMHpl783
XcpRWtCmw7QDX0U2vjpQ8xj7+aVHWQKiIVAr7w1X4IxTsswKVvF9n5NU
-----END PRIVATE KEY-----
"""
ENCRYPTED = b"""-----BEGIN ENCRYPTED PRIVATE KEY-----
MIHsMFcGCSqGSIb3DQEFDTBKMCkGCSqGSIb3DQEFDDAcBAgk+uqlaKjePgICCAAw
DAYIKoZIhvcNAgkFADAdBglghkgBZQMEASoEEPLZ8BsOF2gmvLDlPFpDnOUEgZAv
2QBr0wakTza+Lryz5+ik24mArn7hO+qF6qfI1WByYrqJXBVa6RW4AcwUcEkEut/Y
v6CUBPURzxvreS/Lg3tS8kbDCXRuERqeDS+V5YTOgMYFBSOpoKAr++eAcJ7GO+rD
+WYjEyE9EWZGG1xgC4YR0OP/59HAU4Efq54hrP/cxx6Eaq9cPtrsyUyTimxc8CU=
-----END ENCRYPTED PRIVATE KEY-----
"""
ENCRYPTED_OLD = b"""-----BEGIN EC PRIVATE KEY-----
Proc-Type: 4,ENCRYPTED
DEK-Info: AES-128-CBC,17EAB6A65B5F4D67DD7067E1351D2EE9

+HCqbNyAYe85jlgHGE5swTH0Qt/g2yzV5S0fBpSwA4qvu0mC0NEK7pB4npQb5Nca
jCimqHxUO+t0L7XFDLTK1ZnJ8wuhCg0hVt1GnDJIFt/8y85MZgq6/DDCAIdaSFK7
bv0PVK6Tmdk5cLRXOVHmDCs8J795NT21fnETT+tR+uA=
-----END EC PRIVATE KEY-----
"""


@pytest.mark.parametrize(
    ("scheme", "pem"), [("ed25519", ED25519), ("secp256k1", SECP256K1), ("prime256v1", PRIME256V1)]
)
def test_files_of_openssl_and_dfx(scheme: Scheme, pem: bytes) -> None:
    expected = SigningKey.from_secret(scheme, SECRET)
    for file in (pem, pem.replace(b"\n", b"\r\n"), b"a comment\n" + pem + b"\n"):
        read = SigningKey.from_pem(file)
        assert (read.scheme, read.public_key) == (scheme, expected.public_key)


@pytest.mark.parametrize("explicit", [True, False])
def test_files_of_ring(explicit: bool) -> None:
    """PKCS#8 v2 as the reference gateway keeps its key: early versions of ring tag the public key explicitly."""
    public_key = SigningKey.from_secret("ed25519", SECRET).public_key[-32:]
    head = bytes.fromhex("020101300506032b657004220420") + SECRET
    for other in (public_key, bytes(32)):
        attached = (b"\xa1\x23\x03\x21\x00" if explicit else b"\x81\x21\x00") + other
        der = b"\x30" + bytes([len(head) + len(attached)]) + head + attached
        if other == public_key:
            assert SigningKey.from_der(der).public_key[-32:] == public_key
        else:
            with pytest.raises(KeyUnusable, match="does not belong"):
                SigningKey.from_der(der)


@pytest.mark.parametrize("pem", [ENCRYPTED, ENCRYPTED_OLD])
def test_an_encrypted_file_says_so(pem: bytes) -> None:
    with pytest.raises(KeyUnusable, match="encrypted"):
        SigningKey.from_pem(pem)


@pytest.mark.parametrize("scheme", SCHEMES)
@given(secret=st.binary(min_size=32, max_size=32))
def test_what_is_written_reads(scheme: Scheme, secret: bytes) -> None:
    try:
        signer = SigningKey.from_secret(scheme, secret)
    except KeyUnusable:
        assert scheme != "ed25519"
        return
    again = SigningKey.from_pem(signer.to_pem())
    assert (again.scheme, again.public_key, again.sign(b"x")) == (scheme, signer.public_key, signer.sign(b"x"))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_generated_keys_differ_and_sign(scheme: Scheme) -> None:
    one, two = SigningKey.generate(scheme), SigningKey.generate(scheme)
    assert one.public_key != two.public_key
    verify_signature(one.public_key, one.sign(b"message"), b"message")


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_repr_shows_no_secret(scheme: Scheme) -> None:
    signer = key(1, scheme)
    assert scheme in repr(signer)
    assert bytes(31).hex() not in repr(signer)
    assert repr(signer) == repr(SigningKey.from_pem(signer.to_pem()))


def test_unknown_schemes_are_named() -> None:
    with pytest.raises(ValueError, match="rsa"):
        SigningKey.generate("rsa")  # type: ignore[arg-type]


@given(st.binary(max_size=200))
def test_junk_is_no_key_file(junk: bytes) -> None:
    for read in (SigningKey.from_pem, SigningKey.from_der):
        with pytest.raises(KeyUnusable):
            read(junk)


# --- openssl reads and writes the same ------------------------------------------------------------------------------


def openssl(*arguments: str, data: bytes = b"") -> bytes:
    return subprocess.run([program("openssl"), *arguments], input=data, capture_output=True, check=True).stdout  # noqa: S603


@pytest.mark.parametrize("scheme", SCHEMES)
def test_openssl_reads_what_is_written(scheme: Scheme) -> None:
    signer = SigningKey.generate(scheme)
    assert openssl("pkey", "-pubout", "-outform", "DER", data=signer.to_pem()) == signer.public_key


@pytest.mark.parametrize("scheme", SCHEMES)
def test_what_openssl_writes_is_read(scheme: Scheme, tmp_path: Path) -> None:
    if scheme == "ed25519":
        files = [openssl("genpkey", "-algorithm", "ed25519")]
    else:
        sec1 = openssl("ecparam", "-name", scheme, "-genkey")
        files = [sec1, openssl("ec", data=sec1), openssl("pkcs8", "-topk8", "-nocrypt", data=sec1)]
        files.append(openssl("ec", "-conv_form", "compressed", data=sec1))
    public_key = openssl("pkey", "-pubout", "-outform", "DER", data=files[0])
    for pem in files:
        assert SigningKey.from_pem(pem).public_key == public_key
        der = openssl("pkey", "-outform", "DER", data=pem)
        assert SigningKey.from_der(der).public_key == public_key
    encrypted = openssl("pkcs8", "-topk8", "-passout", "pass:x", data=files[0])
    with pytest.raises(KeyUnusable, match="encrypted"):
        SigningKey.from_pem(encrypted)
