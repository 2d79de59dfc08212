"""What follows from the counts."""

import pytest

from tests.bench.report.results import result


def test_figures_are_for_each_one_done() -> None:
    one = result()
    assert (one.rate, one.cpu_us, one.loop_cpu_us, one.cores) == (50.0, 400.0, 300.0, 0.02)
    assert one.bytes_per_frame == 2500
    assert one.faults == []


def test_idle_sessions_have_cores_and_no_cpu_for_each() -> None:
    one = result(is_quiet=True)
    assert (one.rate, one.cpu_us, one.loop_cpu_us, one.cores) == (None, None, None, 0.02)


def test_without_a_process_id_there_is_no_cpu() -> None:
    one = result(cpu_s=None, loop_cpu_s=None, rss=None)
    assert (one.cpu_us, one.loop_cpu_us, one.cores) == (None, None, None)


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"lost": 3}, "3 messages were lost"),
        ({"done": 90}, "10 messages were lost"),
        ({"repeated": 1}, "1 messages came again"),
        ({"misrouted": 2}, "2 messages came to the wrong client"),
        ({"closes": {"4008 slow": 2}}, "closed 2 sockets: 4008 slow"),
        ({"verified": 0}, "no message was verified"),
        ({"failure": "3 of 5 clients got no session"}, "3 of 5 clients"),
    ],
)
def test_a_fault_is_a_sentence(changes: dict[str, object], fault: str) -> None:
    (found,) = result(**changes).faults
    assert fault in found
