import base64
import ssl
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.gateway.sockets.tls.certificate_expiry import certificate_expiry
from tests.needs import program


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tls")
    command = [program("openssl"), "req", "-x509", "-newkey", "ec", "-nodes"]
    command += ["-pkeyopt", "ec_paramgen_curve:prime256v1"]
    command += ["-subj", "/CN=gateway", "-days", "30", "-keyout", "key.pem", "-out", "certificate.pem"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)  # noqa: S603
    return folder / "certificate.pem"


def test_the_end_is_what_openssl_says(certificate: Path) -> None:
    command = [program("openssl"), "x509", "-in", certificate.name, "-noout", "-enddate"]
    told = subprocess.run(command, cwd=certificate.parent, check=True, capture_output=True, text=True)  # noqa: S603
    seconds = ssl.cert_time_to_seconds(told.stdout.strip().partition("=")[2])
    assert certificate_expiry(certificate) == datetime.fromtimestamp(seconds, UTC)


def test_a_far_end_is_written_otherwise(certificate: Path, tmp_path: Path) -> None:
    der = base64.b64decode("".join(certificate.read_text().splitlines()[1:-1]))
    begin = der.index(b"\x17\x0d", der.index(b"\x17\x0d") + 1)
    far = der[:begin] + b"\x18\x0f20991231235959Z" + der[begin + 15 :]
    validity = der.rindex(b"\x30\x1e", 0, begin)
    grown = bytearray(far)
    grown[validity + 1] += 2
    for header in (0, 4):  # certificate and what is signed of it have lengths of two bytes
        size = int.from_bytes(grown[header + 2 : header + 4], "big") + 2
        grown[header + 2 : header + 4] = size.to_bytes(2, "big")
    file = tmp_path / "far.pem"
    text = base64.b64encode(grown).decode()
    file.write_text(f"-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n")
    assert certificate_expiry(file) == datetime(2099, 12, 31, 23, 59, 59, tzinfo=UTC)


@given(st.binary(max_size=60))
def test_what_is_no_certificate_says_so(tmp_path_factory: pytest.TempPathFactory, junk: bytes) -> None:
    file = tmp_path_factory.getbasetemp() / "junk.pem"
    text = base64.b64encode(junk).decode()
    for content in (text, f"-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n"):
        file.write_text(content)
        with pytest.raises(ValueError, match="certificate"):
            certificate_expiry(file)
