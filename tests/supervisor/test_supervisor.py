"""What the supervisor makes of what its workers do, without processes."""

import asyncio
import signal
from pathlib import Path

from appliance.supervisor.supervisor import HAND_ON, Orders, Supervisor
from appliance.supervisor.worker import Worker


class Obeying(Worker):
    """A worker that is replaced at once when it is asked to hand on, and is ready a moment later."""

    def send(self, number: int) -> None:
        """Raises nothing."""
        assert number in (HAND_ON, signal.SIGKILL)
        self.starts += 1
        self.state = "starting"
        self.ready.clear()
        asyncio.get_running_loop().call_soon(self._on_line, "READY=1")


async def test_a_worker_that_crashed_some_time_ago_is_replaced_like_the_others(tmp_path: Path) -> None:
    supervisor = Supervisor(Orders(2, tmp_path, [], "a", None))
    supervisor.workers = [
        Obeying(each.role, [], bind=supervisor._bind, changed=supervisor._on_change) for each in supervisor.workers
    ]
    for each in supervisor.workers:
        each.state = "ready"
        each.ready.set()
    crashed = supervisor.workers[0]
    crashed.restarts = crashed.restarts.ended(1.0)
    supervisor.restart()
    assert supervisor._restarting is not None
    await supervisor._restarting
    assert supervisor.restart_problem is None
    assert [(each.starts, each.ready.is_set()) for each in supervisor.workers] == [(1, True), (1, True)]
