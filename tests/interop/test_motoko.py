"""A canister in Motoko, compiled by the compiler's releases with pointers of 32 bits and of 64, on the localnet."""

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from appliance.crypto import CandidTypes, Verifier
from appliance.ic.envelope import sign_request
from appliance.ic.identity import AnonymousIdentity
from appliance.ic.principal import Principal
from appliance.localnet.state.outcome import Outcome, Reply
from appliance.localnet.wasm.canister import WasmCanister
from tests.interop.node import HERE, PATIENCE_S
from tests.localnet.machine import SECOND
from tests.localnet.wasm.net import Net

COMPILATION_S = 4 * PATIENCE_S
"""The compiler runs in JavaScript: seconds on a machine that has nothing else to do."""
COMPILERS = ["motoko-3.6.16", "motoko-4.10.0"]
NOTHING = CandidTypes("()").encode()
FAILED = "Error from Canister {}: Canister called `ic0.trap` with message: 'assertion failed at Main.mo:"


class Diary:
    """The canister on a net of its own."""

    def __init__(self, module: bytes, cache: Path) -> None:
        self.net = Net()
        self.module = module
        self.id = self.net.install(module, text("zero"), cache=cache)
        self.record = self.net.replica.canisters[self.id]

    @property
    def keeps_memory(self) -> bool:
        """Whether its upgrades keep the main memory."""
        assert isinstance(self.record.canister, WasmCanister)
        return "enhanced-orthogonal-persistence" in self.record.canister.private_metadata

    def call(self, method: str, arg: bytes = NOTHING) -> Outcome:
        return self.net.call(self.id, method, arg)

    def read(self, method: str = "read", kind: str = "(vec text)") -> Any:
        outcome = self.net.query(self.id, method, NOTHING)
        assert isinstance(outcome, Reply), outcome
        return CandidTypes(kind).decode(outcome.arg)[0]

    def upgrade(self) -> None:
        keep = True if self.keeps_memory else None
        self.net.replica.upgrade_canister(self.id, self.module, arg=text("zero"), keep_memory=keep)


def text(value: str) -> bytes:
    return CandidTypes("(text)").encode(value)


def nat(value: int) -> Reply:
    return Reply(CandidTypes("(nat)").encode(value))


@pytest.fixture(scope="session", params=COMPILERS)
def built(
    request: pytest.FixtureRequest, project: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> tuple[bytes, Path]:
    """The module, and where it is kept when it is compiled for this machine."""
    folder, source = tmp_path_factory.mktemp("motoko"), (HERE / "diary.mo").read_text()
    if request.param == "motoko-4.10.0":  # since 0.15 of the compiler what is not said to be transient is kept
        source = source.replace("actor class", "persistent actor class").replace("stable var", "var")
        source = source.replace("var beats", "transient var beats")
    (folder / "Main.mo").write_text(source)
    command = ["node", "--stack-size=8000", str(HERE / "drivers" / "motoko.cjs"), "Main.mo", "main.wasm"]
    command[3:] = [str(folder / name) for name in command[3:]]
    subprocess.run(command, cwd=project(request.param), check=True, timeout=COMPILATION_S)  # noqa: S603
    return (folder / "main.wasm").read_bytes(), folder / "cache"


@pytest.fixture
def diary(built: tuple[bytes, Path]) -> Diary:
    return Diary(*built)


def test_an_actor_awaits_itself_and_survives_what_it_catches(diary: Diary) -> None:
    assert diary.call("add", text("one")) == nat(2)
    outcome = diary.call("careful")
    assert isinstance(outcome, Reply)
    assert CandidTypes("(text)").decode(outcome.arg)[0].startswith(FAILED.format(diary.id))  # type: ignore[attr-defined]
    assert diary.read() == ["zero", "one", "careful"], "what failed is rolled back, what caught it is not"
    assert not isinstance(diary.call("fail"), Reply)
    for _ in range(2):
        assert diary.read("twice") == ["zero", "one", "careful"]
    assert diary.call("add", text("two")) == nat(4), "queries leave no trace"
    assert not diary.record.contexts


def test_lines_outlive_upgrades(diary: Diary) -> None:
    for number in range(3):
        assert diary.call("add", text(str(number))) == nat(number + 2)
        diary.upgrade()
        assert diary.read() == ["zero", *map(str, range(number + 1))]
    assert [line.text for line in diary.record.log] == ["before", "after"] * 3


def test_the_timer_sets_itself_again(diary: Diary) -> None:
    beats = []
    for _ in range(3):
        diary.net.clock.advance(10 * SECOND + 1000)
        diary.net.run()
        beats.append(diary.read("beaten", "(nat)"))
    assert beats == [1, 2, 3]


def test_the_actor_inspects_what_users_send(diary: Diary) -> None:
    verifier = Verifier(diary.net.replica.authority.root_key)
    now_ns = diary.net.clock.now_ns()

    def is_admitted(arg: bytes) -> bool:
        signed = sign_request(
            AnonymousIdentity(), "call", now_ns=now_ns, canister_id=Principal(diary.id), method_name="add", arg=arg
        )
        return diary.net.replica.admit(verifier.open_request(signed.body, now_ns=now_ns)) is None

    assert is_admitted(text("short"))
    assert not is_admitted(text("long" * 100))
