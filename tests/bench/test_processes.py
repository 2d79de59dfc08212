"""What the kernel counts of a process, against what the process counts itself."""

import os
import threading
import time

from appliance.bench.processes import Usage


def _burn(seconds: float) -> None:
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        pass


def test_cpu_of_all_threads_counts_those_that_ended_too() -> None:
    before, own = Usage.of(os.getpid()), time.process_time()
    thread = threading.Thread(target=_burn, args=(0.05,))
    thread.start()
    thread.join()
    spent = Usage.of(os.getpid()).cpu_s - before.cpu_s
    # The reading after is later than the one of the kernel's clock, and the one before is later, too.
    assert spent >= 0.05
    assert before.cpu_s <= own
    assert Usage.of(os.getpid()).cpu_s <= time.process_time()


def test_the_loop_is_the_first_thread() -> None:
    before = Usage.of(os.getpid())
    _burn(0.05)
    after = Usage.of(os.getpid())
    assert after.loop_cpu_s - before.loop_cpu_s >= 0.04
    assert after.loop_cpu_s <= after.cpu_s
    assert after.rss > 2**20
    assert after.threads >= 1
