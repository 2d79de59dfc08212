import subprocess
import sys

import pytest

from appliance.localnet.hosting import wasm_canister
from appliance.localnet.wasm.binary import InvalidModule
from tests.localnet.wasm.modules import COUNTER, module

WITHOUT_ENGINE = """
import sys
sys.modules["wasmtime"] = None
from appliance.localnet.hosting import NoEngine, wasm_canister
import appliance.localnet.net
try:
    wasm_canister(b"")
except NoEngine as error:
    print(error)
"""


def test_a_module_becomes_a_canister() -> None:
    assert len(wasm_canister(module(COUNTER)).module_hash) == 32
    with pytest.raises(InvalidModule):
        wasm_canister(b"")


def test_where_the_engine_is_missing_it_is_said_how_to_get_it() -> None:
    done = subprocess.run([sys.executable, "-c", WITHOUT_ENGINE], capture_output=True, text=True, check=True)  # noqa: S603
    assert done.stdout.strip().endswith("pip install 'icws[localnet]'")
