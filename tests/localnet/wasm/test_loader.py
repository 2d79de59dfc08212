import subprocess
import sys
from pathlib import Path

import pytest

from appliance.installation import installation
from appliance.localnet.wasm.binary import InvalidModule
from appliance.localnet.wasm.loader import default_cache, new_wasm_canister
from tests.localnet.wasm.modules import COUNTER, module

WITHOUT_ENGINE = """
import sys
sys.modules["wasmtime"] = None
from pathlib import Path
from appliance.localnet.wasm.loader import WasmtimeMissing, default_cache, load_wasm_canister, new_wasm_canister
import appliance.localnet.net
for use in (default_cache, lambda: load_wasm_canister(Path()), lambda: new_wasm_canister(b"")):
    try:
        use()
    except WasmtimeMissing as error:
        print(error)
"""


def test_a_module_becomes_a_canister() -> None:
    assert len(new_wasm_canister(module(COUNTER)).module_hash) == 32
    with pytest.raises(InvalidModule):
        new_wasm_canister(b"")


def test_where_the_engine_is_missing_it_is_said_how_to_get_it() -> None:
    done = subprocess.run([sys.executable, "-c", WITHOUT_ENGINE], capture_output=True, text=True, check=True)  # noqa: S603
    lines = done.stdout.splitlines()
    assert [line.endswith(installation().advice("localnet")) for line in lines] == [True] * 3


def test_modules_of_a_user_lie_in_the_users_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert default_cache() == Path("/somewhere/icws/wasm")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/alice")
    assert default_cache() == Path("/home/alice/.cache/icws/wasm")
