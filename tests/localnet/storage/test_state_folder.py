import errno
import fcntl
import json
import os
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from appliance.localnet.management.canister import ManagementCanister
from appliance.localnet.replica.replica import Replica
from appliance.localnet.state.certification import Authority
from appliance.localnet.state.clock import ManualClock
from appliance.localnet.storage import canister_folder
from appliance.localnet.storage.state_folder import StateFolder, StateUnusable
from tests.localnet.machine import START
from tests.localnet.managed import COUNTER_MODULE, NO_SETTINGS, REINSTALL, UPGRADE, Managed, about
from tests.localnet.wasm.modules import module

TIMED = module(
    """
(func (export "canister_init") (drop (call $global_timer_set (i64.const 2000000000000000000)))
  (call $certified_data_set (i32.const 0) (i32.const 8)) (drop (call $stable64_grow (i64.const 1)))
  (call $debug_print (i32.const 0) (i32.const 5)))
(data (i32.const 0) "hello")
"""
)
"""Sets everything at its installation that a canister can set."""


class Kept(Managed):
    """A network whose state is kept."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.folder = StateFolder(path)
        self.replica = Replica(self.folder.authority(subnet=False, seed=None), ManualClock(START))
        self.clock = self.replica.clock  # type: ignore[assignment]
        self.management = ManagementCanister(self.replica)
        self.replica.executor.management = self.management
        try:
            self.folder.restore(self.replica, cache=None)
        except BaseException:
            self.folder.close()
            raise

    def save(self) -> bool:
        return self.folder.save(self.replica)


def seen(net: Managed) -> Any:
    """What is to be the same afterwards."""
    return {
        record.canister_id: (
            *(
                record.controllers,
                record.status,
                record.version,
                record.cycles,
                record.timer_ns,
                record.variables,
                record.name,
            ),
            *(record.settings, record.history.total, record.history.recent(20), list(record.log), record.log_number),
            *(sorted(record.chunks), net.replica.state.get((b"canister", record.canister_id, b"certified_data"))),
            net.replica.state.get((b"canister", record.canister_id, b"module_hash")),
            None if record.actor is None else record.actor.memory_sizes,
        )
        for record in net.replica.canisters
    }


def reopened(net: Kept) -> Kept:
    net.folder.close()
    return Kept(net.folder.folder)


def test_everything_comes_back(tmp_path: Path) -> None:
    net = Kept(tmp_path / "made" / "here")
    counter, timed, empty = net.installed(), net.installed(TIMED), net.create()
    counter.name = "counter"
    net.call(counter.canister_id, "add")
    changed = {
        **NO_SETTINGS,
        "environment_variables": [{"name": "A", "value": "b"}],
        "log_visibility": {"public": None},
    }
    net.manage("update_settings", {**about(timed), "settings": changed})
    net.manage("upload_chunk", {**about(empty), "chunk": b"chunk"})
    net.manage("stop_canister", about(empty))
    before, root_key, time_ns = seen(net), net.replica.authority.root_key, net.replica.state.next_time()
    assert timed.timer_ns == 2 * 10**18
    assert net.save()
    net = reopened(net)
    assert seen(net) == before
    assert net.replica.authority.root_key == root_key
    assert net.replica.state.next_time() > time_ns
    outcome = net.call(counter.canister_id, "add")
    assert outcome.arg[:8] == (2).to_bytes(8, "little")  # type: ignore[union-attr]
    assert net.create().canister_id not in before


def test_ids_of_deleted_canisters_are_not_given_again(tmp_path: Path) -> None:
    net = Kept(tmp_path)
    record = net.create()
    net.manage("stop_canister", about(record))
    net.manage("delete_canister", about(record))
    second = net.create()
    net.manage("stop_canister", about(second))
    net.manage("delete_canister", about(second))
    net.save()
    assert not list((tmp_path / "state-1").glob("*-cai"))
    third = reopened(net).create()
    assert len({record.canister_id, second.canister_id, third.canister_id}) == 3


def test_what_has_not_changed_is_not_written_again(tmp_path: Path) -> None:
    net = Kept(tmp_path)
    still, busy = net.installed(), net.installed()
    assert net.save()
    first = {path.name: path.stat().st_ino for path in (tmp_path / "state-1" / str(still.canister_id)).iterdir()}
    assert not net.save(), "nothing has changed"
    net.call(busy.canister_id, "add")
    assert net.save()
    second = {path.name: path.stat().st_ino for path in (tmp_path / "state-2" / str(still.canister_id)).iterdir()}
    assert second == first
    assert [path.name for path in tmp_path.glob("state-*")] == ["state-2"], "the old state is gone"
    net = reopened(net)
    assert not net.save(), "nothing has changed since it was written"


def test_lines_of_a_message_that_trapped_are_kept(tmp_path: Path) -> None:
    net = Kept(tmp_path)
    record = net.installed()
    net.save()
    version = record.version
    net.call(record.canister_id, "add and trap")
    assert record.version == version
    assert net.save()
    before = seen(net)
    assert seen(reopened(net)) == before


def test_a_canister_made_again_is_another(tmp_path: Path) -> None:
    net = Kept(tmp_path)
    record = net.installed()
    net.save()
    net.manage("stop_canister", about(record))
    net.manage("delete_canister", about(record))
    wanted = {"amount": None, "settings": None, "specified_id": record.canister_id}
    net.manage("provisional_create_canister_with_cycles", wanted)
    again = net.replica.canisters[record.canister_id]
    again.version = record.version
    assert net.save()
    assert reopened(net).replica.canisters[record.canister_id].canister is None


def test_one_network_at_a_time(tmp_path: Path) -> None:
    net = Kept(tmp_path)
    with pytest.raises(StateUnusable, match="another local network is using it"):
        StateFolder(tmp_path)
    net.folder.close()
    net.folder.close()
    StateFolder(tmp_path).close()


def test_other_keys_are_refused(tmp_path: Path) -> None:
    net = Kept(tmp_path)
    net.save()
    net.folder.close()
    folder = StateFolder(tmp_path)
    with pytest.raises(StateUnusable, match="another seed"):
        folder.authority(subnet=False, seed=b"other")
    with pytest.raises(StateUnusable, match="without a subnet key"):
        folder.authority(subnet=True, seed=None)
    for subnet in (False, None):
        same = folder.authority(subnet=subnet, seed=net.replica.authority.seed)
        assert same.root_key == Authority(seed=net.replica.authority.seed).root_key
        assert not same.is_delegated
    folder.close()


def test_the_folder_is_private(tmp_path: Path) -> None:
    Kept(tmp_path / "state").save()
    assert (tmp_path / "state").stat().st_mode & 0o077 == 0
    assert (tmp_path / "state" / "state-1").stat().st_mode & 0o077 == 0


# --- damage ---


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    net = Kept(tmp_path_factory.mktemp("saved"))
    record = net.installed()
    net.manage("upload_chunk", {**about(record), "chunk": b"chunk"})
    net.save()
    net.folder.close()
    return net.folder.folder


FILES = ["current", "state-1/manifest.json", "state-1/net.json"] + [
    f"state-1/bkyz2-fmaaa-aaaaa-qaaaq-cai/{name}"
    for name in ("canister.json", "memory", "stable_memory", "globals.json", "module.wasm")
]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", ["changed", "cut", "longer", "gone"])
def test_damage_is_a_sentence(saved: Path, tmp_path: Path, name: str, damage: str) -> None:
    shutil.copytree(saved, tmp_path / "state")
    file = tmp_path / "state" / name
    data = file.read_bytes()
    if damage == "gone":
        file.unlink()
    elif damage == "longer":
        file.write_bytes(data + b"x")
    elif damage == "cut":
        file.write_bytes(data[: len(data) // 2] if data else b"x")
    else:
        file.write_bytes(bytes([data[0] ^ 1]) + data[1:] if data else b"x")
    with pytest.raises(StateUnusable, match=r"the state of the local network in .* cannot be used: "):
        Kept(tmp_path / "state")
    assert StateUnusable in {type(error) for error in _raised(tmp_path / "state")}


def _raised(folder: Path) -> list[Exception]:
    """It is refused the next time, too: nothing is locked or mended."""
    try:
        Kept(folder)
    except StateUnusable as error:
        return [error]
    return []


def test_a_state_of_another_format_is_refused(saved: Path, tmp_path: Path) -> None:
    from hashlib import sha256

    shutil.copytree(saved, tmp_path / "state")
    manifest = tmp_path / "state" / "state-1" / "manifest.json"
    text = json.dumps({**json.loads(manifest.read_text()), "format": 99})
    manifest.write_text(text)
    (tmp_path / "state" / "current").write_text(f"state-1 {sha256(text.encode()).hexdigest()}\n")
    with pytest.raises(StateUnusable, match="its format is 99, this program reads 1"):
        StateFolder(tmp_path / "state")


# --- whatever happens there is one state or the one before ---

STEPS = st.lists(
    st.sampled_from(["create", "add", "trap", "upgrade", "reinstall", "chunk", "save", "crash"]), max_size=12
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(STEPS, max_size=12), data=st.data())
def test_a_crash_loses_what_was_not_saved_and_nothing_else(
    steps: list[str], data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    net = Kept(tmp_path_factory.mktemp("state"))
    try:
        kept = seen(net)
        for step in steps:
            canisters = list(net.replica.canisters)
            if step == "create" or (step not in ("save", "crash") and not canisters):
                net.installed()
            elif step == "save":
                net.save()
                kept = seen(net)
            elif step == "crash":
                _fail_to_save(net, data.draw(st.integers(0, 5)))
                net = reopened(net)
                assert seen(net) == kept
            else:
                _change(net, step, data.draw(st.sampled_from(canisters)))
    finally:
        net.folder.close()


def _change(net: Kept, step: str, record: Any) -> None:
    match step:
        case "add":
            net.call(record.canister_id, "add")
        case "trap":
            net.call(record.canister_id, "add and trap")
        case "upgrade":
            net.install_code(record, COUNTER_MODULE, UPGRADE)
        case "reinstall":
            net.install_code(record, COUNTER_MODULE, REINSTALL)
        case "chunk":
            net.manage("upload_chunk", {**about(record), "chunk": os.urandom(8)})


def _fail_to_save(net: Kept, after: int) -> None:
    """Begin to write a state, and have the disk be full after so many canisters, or at the last step."""
    left = iter(range(after))
    write = canister_folder.write

    def failing(*arguments: Any) -> None:
        if next(left, None) is None:
            raise OSError("no space left")
        write(*arguments)

    def never(*_: Any) -> None:
        raise OSError("no space left")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(canister_folder, "write", failing)
        patch.setattr(Path, "replace", never)
        with suppress(OSError):
            net.save()


@pytest.mark.parametrize("after", [0, 1])
def test_what_could_not_be_written_whole_takes_no_room(tmp_path: Path, after: int) -> None:
    """Another attempt comes every two seconds: on a full disk each would leave a part and none would ever fit."""
    net = Kept(tmp_path)
    record = net.create()
    net.save()
    before = sorted(file.name for file in tmp_path.glob("state-*"))
    for _ in range(2):
        net.manage("upload_chunk", {**about(record), "chunk": os.urandom(8)})
        _fail_to_save(net, after)
    assert sorted(file.name for file in tmp_path.glob("state-*")) == before
    net.folder.close()


def test_a_file_system_without_locks_is_not_another_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(StateUnusable, match="cannot be locked: No locks available"):
        StateFolder(tmp_path)


def test_a_disk_that_takes_nothing_is_named_by_the_folder(tmp_path: Path) -> None:
    program = """
import resource, sys
from pathlib import Path
from appliance.localnet.net import Localnet

resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
try:
    Localnet(state_dir=Path(sys.argv[1])).save()
except OSError as error:
    print(error.filename)
"""
    done = subprocess.run(  # noqa: S603 - of this file
        [sys.executable, "-c", program, str(tmp_path / "state")], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith(str(tmp_path / "state"))
