"""What the process uses, against what Linux says elsewhere."""

import os
import resource
from pathlib import Path

from appliance.control.observe.process import usage


def test_files_that_are_opened_are_counted():
    before = usage().open_fds
    files = [os.open("/dev/null", os.O_RDONLY) for _ in range(7)]
    try:
        assert usage().open_fds == before + 7
    finally:
        for file in files:
            os.close(file)
    assert usage().open_fds == before


def test_memory_is_what_the_status_says():
    resident = usage().resident_bytes
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS")]
    assert abs(resident - int(line.split()[1]) * 1024) < 0.2 * resident


def test_time_only_grows_and_the_limit_is_the_soft_one():
    before = usage()
    sum(number * number for number in range(300_000))
    assert usage().cpu_s >= before.cpu_s > 0
    assert before.max_fds == resource.getrlimit(resource.RLIMIT_NOFILE)[0]
