"""A socket takes the place of systemd's."""

import asyncio
import os
import re
import socket
import time
from collections.abc import Coroutine, Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from appliance.control.health.systemd import EXTENSION_S, REPORT_S, STATUS_S, WATCHDOG_PINGS, Notifier


class Systemd:
    """The receiving end of a notification socket."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind("\0" + address[1:] if address.startswith("@") else address)
        self.socket.setblocking(False)

    def heard(self) -> list[list[str]]:
        """Every message since the last time, as lines."""
        messages = []
        while True:
            try:
                messages.append(self.socket.recv(4096).decode().split("\n"))
            except BlockingIOError:
                return messages


@pytest.fixture(params=["path", "abstract"])
def systemd(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Systemd]:
    address = str(tmp_path / "notify") if request.param == "path" else f"@icws-test-{os.getpid()}"
    it = Systemd(address)
    yield it
    it.socket.close()


class Steps:
    """A sleep that returns at once for so many times, then never."""

    def __init__(self, steps: int) -> None:
        self.left = steps
        self.slept: list[float] = []
        self.over = asyncio.Event()

    async def __call__(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.left -= 1
        if not self.left:
            self.over.set()
            await asyncio.get_running_loop().create_future()


async def run(work: Coroutine[None, None, None], steps: Steps) -> None:
    """Run until the steps are used up, then cancel."""
    task = asyncio.create_task(work)
    await steps.over.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_ready_and_status_are_told(systemd):
    notifier = Notifier(systemd.address)
    notifier.ready("Serving 1 canister")
    notifier.status("Serving 2\ncanisters")
    notifier.ready()
    assert systemd.heard() == [["READY=1", "STATUS=Serving 1 canister"], ["STATUS=Serving 2 canisters"], ["READY=1"]]


def test_a_reload_begins_with_its_time_and_ends_ready(systemd):
    notifier = Notifier(systemd.address)
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    with notifier.reloading():
        [[reloading, at]] = systemd.heard()
    assert reloading == "RELOADING=1"
    assert before <= int(at.removeprefix("MONOTONIC_USEC=")) <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    assert systemd.heard() == [["READY=1"]]


def test_a_reload_that_fails_ends_ready_too(systemd):
    notifier = Notifier(systemd.address)
    with pytest.raises(ValueError, match="bad file"), notifier.reloading():
        raise ValueError("bad file")
    assert systemd.heard()[-1] == ["READY=1"]


def test_reloads_within_one_another_are_one(systemd):
    notifier = Notifier(systemd.address)
    with notifier.reloading():
        with notifier.reloading():
            pass
        assert [message[0] for message in systemd.heard()] == ["RELOADING=1"]
    assert systemd.heard() == [["READY=1"]]


async def test_a_status_is_told_when_it_is_another_one(systemd):
    steps, texts = Steps(5), iter("aabbc")
    await run(Notifier(systemd.address).follow(lambda: next(texts), sleep=steps), steps)
    assert systemd.heard() == [["STATUS=a"], ["STATUS=b"], ["STATUS=c"]]
    assert steps.slept == [STATUS_S] * 5


async def test_without_a_service_manager_nothing_is_followed():
    await Notifier(None).follow(lambda: "a")


async def test_the_watchdog_is_fed_within_its_limit_while_all_is_well(systemd):
    steps = Steps(4)
    alive = iter([True, True, False, True])
    with capture_logs() as logs:
        await run(Notifier(systemd.address, watchdog_s=30.0).watch(lambda: next(alive), sleep=steps), steps)
    assert systemd.heard() == [["WATCHDOG=1"]] * 3
    assert steps.slept == [30.0 / WATCHDOG_PINGS] * 4
    assert [line["event"] for line in logs] == ["the watchdog gets no more pings"]


async def test_without_a_watchdog_nothing_is_watched(systemd):
    await Notifier(systemd.address).watch()
    assert systemd.heard() == []


async def test_stopping_asks_for_time_and_says_how_far_it_is_until_the_limit(systemd):
    left = iter(range(9, 0, -1))
    notifier = Notifier(systemd.address)
    await notifier.stopping(lambda: f"{next(left)} left", 3 * REPORT_S, sleep=lambda _: asyncio.sleep(0))
    asks = f"EXTEND_TIMEOUT_USEC={round(EXTENSION_S * 1e6)}"
    assert systemd.heard() == [
        ["STOPPING=1", "STATUS=9 left"],
        [asks, "STATUS=8 left"],
        [asks, "STATUS=7 left"],
        [asks, "STATUS=6 left"],
    ]
    with notifier.reloading():
        pass
    assert systemd.heard() == []  # who stops is not ready again


def test_what_cannot_be_told_is_logged_and_nothing_else(tmp_path):
    with capture_logs() as logs:
        Notifier(str(tmp_path / "nobody")).ready()
    assert [(line["event"], line["message"]) for line in logs] == [("systemd could not be notified", "READY=1")]


def test_a_status_does_not_wait_for_a_full_queue(systemd):
    notifier = Notifier(systemd.address)
    with capture_logs() as logs:
        for _ in range(1_000_000):
            if logs:
                break
            notifier.status("again")
    assert logs[0]["message"] == "STATUS=again"
    assert systemd.heard()


def test_the_environment_says_whom_to_tell(systemd):
    here = str(os.getpid())
    assert Notifier.from_environment({}).watchdog_s is None
    Notifier.from_environment({}).ready()
    Notifier.from_environment({"NOTIFY_SOCKET": "vsock:2:1"}).ready()
    told = {"NOTIFY_SOCKET": systemd.address, "WATCHDOG_USEC": "30000000"}
    Notifier.from_environment(told).ready()
    assert systemd.heard() == [["READY=1"]]
    assert Notifier.from_environment(told).watchdog_s == 30.0
    assert Notifier.from_environment(told | {"WATCHDOG_PID": here}).watchdog_s == 30.0
    assert Notifier.from_environment(told | {"WATCHDOG_PID": "1"}).watchdog_s is None
    for nonsense in ("", "0", "-1", "soon"):
        assert Notifier.from_environment(told | {"WATCHDOG_USEC": nonsense}).watchdog_s is None


def test_messages_are_what_sd_notify_takes(systemd):
    notifier = Notifier(systemd.address)
    with notifier.reloading():
        notifier.status("x")
    messages = systemd.heard()
    assert len(messages) == 3
    for message in messages:
        assert all(re.fullmatch(r"[A-Z_]+=.+", line) for line in message)
