"""The canisters in Rust that tests are run against (``cdks/``): on releases of ic-websocket-cdk for wire generation v1,
and a plain one.
"""

from pathlib import Path

from tests.interop.builds import NotBuilt, built
from tests.needs import lacks

FOLDER = Path(__file__).parent / "cdks"
CACHE = FOLDER / "target" / "compiled"
VERSIONS = ("0.1.2", "0.2.1")


PLAIN = Path(__file__).parent / "plain-canister"
"""The folder of the canister on ic-cdk alone."""


def file(version: str) -> Path:
    """Where the module on this release is built."""
    return FOLDER / "target" / f"cdk_{version.replace('.', '_')}.wasm"


def module(version: str) -> bytes:
    """The module on this release. Raises NotBuilt."""
    package = FOLDER / f"v{version}"
    sources = [FOLDER / "Cargo.toml", FOLDER / "Cargo.lock", FOLDER / "ping_pong.rs", package / "Cargo.toml"]
    sources.append(package / "src" / "lib.rs")
    return built(file(version), sources, f"the canister on ic-websocket-cdk {version}").read_bytes()


def needed_plain_module() -> bytes:
    """The module of the plain canister, for a test."""
    sources = [PLAIN / "Cargo.toml", PLAIN / "Cargo.lock", PLAIN / "src" / "lib.rs"]
    try:
        return built(PLAIN / "target" / "plain.wasm", sources, "the plain canister").read_bytes()
    except NotBuilt as missing:
        lacks(missing, "interop")


def needed_module(version: str) -> bytes:
    """The same for a test, which is skipped without it, or fails where it must not be skipped."""
    try:
        return module(version)
    except NotBuilt as missing:
        lacks(missing, "interop")
