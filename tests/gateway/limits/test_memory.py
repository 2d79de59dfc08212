"""The memory of the process: what the machine has, or less where a cgroup says so."""

import subprocess
import sys

import pytest

from appliance.config.schema import Config
from appliance.gateway.limits import memory
from appliance.gateway.limits.memory import available_memory, memory_limit, return_large_buffers

GIB = 1 << 30


@pytest.fixture
def cgroups(tmp_path, monkeypatch):
    """A cgroup of version 2 for this process: /outer/inner."""
    inner = tmp_path / "outer" / "inner"
    inner.mkdir(parents=True)
    own = tmp_path / "own"
    own.write_text("0::/outer/inner\n")
    monkeypatch.setattr(memory, "_CGROUPS", tmp_path)
    monkeypatch.setattr(memory, "_OWN", own)
    return inner


def test_without_limits_it_is_the_machine(cgroups):
    machine = available_memory()
    (cgroups / "memory.max").write_text("max\n")
    assert available_memory() == machine > 0


def test_the_smallest_limit_around_the_process_counts(cgroups):
    (cgroups / "memory.max").write_text("64000000\n")
    (cgroups.parent / "memory.max").write_text("63000000\n")
    (cgroups / "memory.high").write_text("62000000\n")
    assert available_memory() == 62_000_000
    assert memory_limit("50%") == 31_000_000


def test_version_1_has_other_files(tmp_path, monkeypatch):
    folder = tmp_path / "memory" / "docker"
    folder.mkdir(parents=True)
    (folder / "memory.limit_in_bytes").write_text("61000000\n")
    own = tmp_path / "own"
    own.write_text("4:memory:/docker\n3:cpu:/docker\n")
    monkeypatch.setattr(memory, "_CGROUPS", tmp_path)
    monkeypatch.setattr(memory, "_OWN", own)
    assert available_memory() == 61_000_000


def test_a_size_is_a_size():
    assert memory_limit("1GiB") == GIB


@pytest.mark.parametrize("wrong", ["0%", "101%", "1.5%", "much", "15MiB", "%"])
def test_what_is_no_memory_is_refused(wrong):
    with pytest.raises(ValueError, match="memory"):
        Config.model_validate({"limits": {"memory": wrong}})


BUFFERS = 64
KEEPS_SMALL_ONES = f"""
import sys
from appliance.gateway.limits.memory import return_large_buffers

def resident():
    status = open("/proc/self/status").read()
    return int(status.partition("VmRSS:")[2].split()[0]) * 1024

if sys.argv[1] == "set":
    assert return_large_buffers()
for mib in range(1, 9):
    bytearray(mib << 20)
before, size, small, large = resident(), 1 << 20, [], []
for _ in range({BUFFERS}):
    large.append(b"x" * size)
    small.append(bytearray(8000))
large.clear()
print(resident() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_large_buffers_go_back_to_the_system_though_small_ones_between_them_stay():
    def kept(how: str) -> int:
        command = [sys.executable, "-c", KEEPS_SMALL_ONES, how]
        return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)  # noqa: S603

    if not return_large_buffers():
        pytest.skip("this C library has no such setting")
    assert kept("set") < (8 << 20) < (BUFFERS << 20) * 0.9 < kept("default")
