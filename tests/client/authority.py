"""A certificate authority of the test's own, made by openssl."""

import ssl
import subprocess
from pathlib import Path

from tests.needs import program


class Authority:
    """Signs certificates for servers; ``ca`` is the file of its own certificate."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.ca = folder / "ca.pem"
        self._key = folder / "ca.key"
        subject = ("-subj", "/CN=private authority", "-days", "30")
        _openssl("req", "-x509", *_NEW_KEY, "-keyout", self._key, "-out", self.ca, *subject)

    def server(self, names: str = "DNS:localhost,IP:127.0.0.1", *, expired: bool = False) -> ssl.SSLContext:
        """The TLS of a server with a new certificate for these names."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self.pair(names, expired=expired))
        return context

    def pair(self, names: str = "DNS:localhost,IP:127.0.0.1", *, expired: bool = False) -> tuple[Path, Path]:
        """The files of a new certificate for these names and of its key."""
        key, request, certificate, extensions = (self._folder / f"server.{end}" for end in ("key", "csr", "pem", "ext"))
        extensions.write_text(f"subjectAltName={names}\n")
        _openssl("req", *_NEW_KEY, "-keyout", key, "-out", request, "-subj", "/CN=server")
        # "-days -1" ends the day before it begins: openssl signs it, clients refuse it.
        signing = ("-CA", self.ca, "-CAkey", self._key, "-CAcreateserial", "-days", "-1" if expired else "30")
        _openssl("x509", "-req", "-in", request, "-out", certificate, "-extfile", extensions, *signing)
        return certificate, key


_NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


def _openssl(*arguments: object) -> None:
    subprocess.run([program("openssl"), *map(str, arguments)], check=True, capture_output=True)  # noqa: S603
