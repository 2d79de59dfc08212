import gzip
import re
from pathlib import Path

import click
import pytest
import wasmtime

from appliance.cli.develop.wasm_files import WasmFile, collect, named_paths, pairs
from appliance.crypto import CandidTypes
from appliance.ic.principal import Principal

GATEWAY = Principal.self_authenticating(b"gateway")
PLAIN = bytes(wasmtime.wat2wasm("(module)"))


def with_interface(did: str) -> bytes:
    """A module that publishes an interface."""
    body = b"\x19icp:public candid:service" + did.encode()
    assert len(body) < 128
    return PLAIN + b"\0" + bytes([len(body)]) + body


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "plain.wasm").write_bytes(PLAIN)
    (tmp_path / "chat.wasm.gz").write_bytes(gzip.compress(with_interface("service : (nat64, opt text) -> {}")))
    (tmp_path / "beside.wasm").write_bytes(PLAIN)
    (tmp_path / "beside.did").write_text("service : (opt text) -> {}")
    (tmp_path / "broken.wasm").write_bytes(b"nonsense")
    return tmp_path


def collected(wasm: list[Path], arguments: dict[str, str], **named: Path) -> list[WasmFile]:
    return collect(named_paths(wasm, named), arguments, gateway=GATEWAY, cache=None)


def test_modules_have_names_and_arguments(folder: Path) -> None:
    found = collected(
        [folder / "chat.wasm.gz", folder / "plain.wasm"],
        {"chat": "(7)", "plain": "(7 : nat8)", "mine": '(opt "a")'},
        mine=folder / "beside.wasm",
    )
    assert {file.name: file.arg for file in found} == {
        "chat": CandidTypes("(nat64, opt text)").encode(7, None),
        "plain": CandidTypes("(nat8)").encode(7),
        "mine": CandidTypes("(opt text)").encode("a"),
    }
    assert found[1].module == PLAIN


def test_without_arguments_what_is_optional_is_absent(folder: Path) -> None:
    found = collected([folder / "plain.wasm", folder / "beside.wasm"], {})
    assert [file.arg for file in found] == [CandidTypes("()").encode(), CandidTypes("(opt text)").encode(None)]


@pytest.mark.parametrize(
    ("wasm", "arguments", "sentence"),
    [
        (
            "chat.wasm.gz",
            {},
            "the arguments of chat: it needs install arguments; it takes (nat64",
        ),
        ("chat.wasm.gz", {}, "e.g. --arg 'chat=(0 : nat64, null)'"),
        ("chat.wasm.gz", {"chat": "(7"}, "the arguments of chat: line 1, column 3"),
        ("chat.wasm.gz", {"chat": '("a")'}, "it takes (nat64, opt text)"),
        ("plain.wasm", {"plain": "nonsense"}, "the arguments of plain: "),
        ("plain.wasm", {"chat": "(7)"}, "--arg chat=…: there is no canister chat, only plain"),
        ("broken.wasm", {}, "broken.wasm: "),
    ],
)
def test_what_cannot_be_installed_is_said(folder: Path, wasm: str, arguments: dict[str, str], sentence: str) -> None:
    with pytest.raises(click.UsageError, match=re.escape(sentence)):
        collected([folder / wasm], arguments)


def test_an_argument_names_the_gateway(folder: Path) -> None:
    (file,) = collected([folder / "beside.wasm"], {"beside": '(opt "{gateway}")'})
    assert file.arg == CandidTypes("(opt text)").encode(str(GATEWAY))
    assert file.beside == ("service : (opt text) -> {}", "beside.did beside the module")


def test_a_name_is_of_one_module(folder: Path) -> None:
    plain = folder / "plain.wasm"
    assert named_paths([plain, plain], {"plain": plain}) == {"plain": plain}
    with pytest.raises(click.UsageError, match=r"two canisters would be called plain: .*; use --canister"):
        named_paths([plain], {"plain": folder / "beside.wasm"})


def test_pairs_are_names_and_values() -> None:
    assert pairs("--arg", ["a=1", "b=c=d"]) == {"a": "1", "b": "c=d"}
    for values in (["a"], ["=1"], ["a="], ["a=1", "a=2"]):
        with pytest.raises(click.UsageError, match="--arg"):
            pairs("--arg", values)
