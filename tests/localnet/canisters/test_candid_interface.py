from itertools import product

import pytest

from appliance.localnet.canisters.candid_interface import FoundInterface, interface_of
from appliance.localnet.wasm.canister import WasmCanister
from tests.localnet.greeter import Greeter
from tests.localnet.wasm.modules import custom_section, module

EXPORTED = """
(func (export "get_candid_pointer") (result i32) (i32.const 8))
(data (i32.const 8) "service : { exported : () -> () }\\00garbage")
"""
BESIDE = FoundInterface("service : { beside : () -> () }", "chat.did beside the module")
PLACES = ("public metadata", "private metadata", "get_candid_pointer", BESIDE.source)


def canister(places: set[str]) -> WasmCanister:
    """A canister whose interface is in these places."""
    code = module(EXPORTED if "get_candid_pointer" in places else "")
    for visibility in ("public", "private"):
        if f"{visibility} metadata" in places:
            code += custom_section(
                f"icp:{visibility} candid:service", f"service : {{ {visibility} : () -> () }}".encode()
            )
    return WasmCanister(code)


@pytest.mark.parametrize("present", list(product([False, True], repeat=4)), ids=str)
def test_the_first_place_counts(present: tuple[bool, ...]) -> None:
    places = {place for place, is_there in zip(PLACES, present, strict=True) if is_there}
    found = interface_of(canister(places), BESIDE if BESIDE.source in places else FoundInterface())
    first = next((place for place in PLACES if place in places), "")
    assert found.source == first
    word = {"": "", BESIDE.source: "beside", "get_candid_pointer": "exported"}.get(
        first, first.split()[0] if first else ""
    )
    assert found.text == (f"service : {{ {word} : () -> () }}" if word else "")


def test_canisters_in_python_and_empty_ones() -> None:
    assert interface_of(Greeter(), BESIDE) == (Greeter.did, "public metadata")
    assert interface_of(None, BESIDE) == ("", "")


@pytest.mark.parametrize(
    "function",
    [
        '(func (export "get_candid_pointer") (result i32) unreachable)',
        '(func (export "get_candid_pointer") (result i32) (i32.const -1))',
        '(func (export "get_candid_pointer"))',
        '(func (export "get_candid_pointer") (result i32) (loop $ever (br $ever)) (i32.const 0))',
        '(func (export "get_candid_pointer") (param i32) (result i32) (i32.const 0))',
    ],
    ids=["trap", "outside", "nothing", "endless", "parameter"],
)
def test_a_function_that_returns_no_text_is_no_interface(function: str) -> None:
    assert interface_of(WasmCanister(module(function)), BESIDE) == BESIDE
