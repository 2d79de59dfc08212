"""The demo canister in Rust (``demo/canister``): its module, and what it is installed with."""

from pathlib import Path

from appliance.crypto import CandidTypes
from appliance.localnet.websocket.canister import WsInitParams
from tests.needs import lacks

FOLDER = Path(__file__).resolve().parents[1] / "demo"
MODULE = FOLDER / "canister" / "target" / "demo.wasm"
CACHE = MODULE.parent / "compiled"
_SETTINGS = CandidTypes("(opt record {send_ack_interval_ms: opt nat64; max_number_of_returned_messages: opt nat64})")


class NotBuilt(Exception):
    """There is no module, or one of other sources; the text says what to do."""


def module() -> bytes:
    """The module as it was built last. Raises NotBuilt."""
    if not MODULE.exists():
        raise NotBuilt("the demo canister is not built; `make demo-canister` does it")
    sources = [FOLDER / "build.sh", *(FOLDER / "canister").glob("*.*"), *(FOLDER / "canister" / "src").iterdir()]
    if max(source.stat().st_mtime for source in sources) > MODULE.stat().st_mtime:
        raise NotBuilt("the demo canister is older than its sources; `make demo-canister` builds it")
    return MODULE.read_bytes()


def needed_module() -> bytes:
    """The same for a test, which is skipped without it, or fails where it must not be skipped."""
    try:
        return module()
    except NotBuilt as missing:
        lacks(missing, "interop")


def settings(params: WsInitParams | None = None) -> bytes:
    """The argument of the installation; without parameters those of ic-websocket-cdk."""
    if params is None:
        return _SETTINGS.encode(None)
    return _SETTINGS.encode(
        {
            "send_ack_interval_ms": params.send_ack_interval_ms,
            "max_number_of_returned_messages": params.max_number_of_returned_messages,
        }
    )
