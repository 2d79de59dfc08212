import math

import pytest

from appliance.cluster.registry.evidence import ASKED, FRESH_S, Evidence, Outcome, Question
from appliance.cluster.registry.peers import ANSWERED_WITHIN_S

SILENT: list[Outcome] = ["silent"] * ASKED


def asked(outcomes: list[Outcome], every_s: float = 1.0) -> tuple[Question, ...]:
    return tuple(Question(100 + number * every_s, each) for number, each in enumerate(outcomes))


@pytest.mark.parametrize(
    ("silent_s", "contact_s", "has_address", "questions", "verdict"),
    [
        (29.9, 99, True, asked(SILENT), "heard"),
        (30.0, 29.9, True, asked(SILENT), "engine"),
        (9999, 9999, False, (), "no address"),
        (30.0, 30.0, True, (), "asking"),
        (30.0, 30.0, True, asked(SILENT[1:]), "asking"),
        (30.0, 30.0, True, asked(SILENT), "dead"),
        (30.0, 30.0, True, asked(["another", *SILENT[1:]]), "dead"),
        (30.0, 30.0, True, asked(["answered", *SILENT]), "dead"),
        (30.0, 30.0, True, asked([*SILENT, "answered"]), "answers"),
        (30.0, 30.0, True, asked([*SILENT, "answered", *SILENT[1:]]), "asking"),
        (30.0, 30.0, True, asked(SILENT, 0.1), "asking"),
        (30.0, 30.0, True, asked(SILENT, FRESH_S + 0.1), "asking"),
    ],
)
def test_the_table(silent_s, contact_s, has_address, questions, verdict):
    evidence = Evidence(silent_s, contact_s, has_address, questions=questions)
    at = questions[-1].at if questions else 100.0
    assert evidence.verdict(at + 0.5, 30.0) == verdict


def test_a_judge_that_stood_still_has_seen_nothing():
    evidence = Evidence(30, 30, has_address=True, questions=asked(SILENT))
    assert evidence.verdict(104.0 + FRESH_S, 30.0) == "dead"
    assert evidence.verdict(104.0 + FRESH_S + 0.1, 30.0) == "asking"


@pytest.mark.parametrize("heartbeat_s", [0.0, 0.5, 0.8, 1.0, 1.9])
def test_a_machine_whose_address_swallows_packets_is_given_up(heartbeat_s: float) -> None:
    """Questions start with beats, which are at least a second apart, and each takes its whole time."""
    beat_s = 1.0 + heartbeat_s
    every_s = beat_s * math.ceil(ANSWERED_WITHIN_S / beat_s)
    evidence = Evidence(30, 30, has_address=True, questions=asked(SILENT, every_s))
    at = evidence.questions[-1].at
    assert evidence.verdict(at, 30.0) == evidence.verdict(at + beat_s, 30.0) == "dead"


def test_questions_are_kept_as_long_as_they_count():
    evidence = Evidence(30, 30, has_address=True)
    for number in range(1000):
        evidence = evidence.asked(Question(float(number), "silent"))
    assert len(evidence.questions) == 2 * ASKED
    assert evidence.verdict(999.5, 30.0) == "dead"
    seen = evidence.seen(silent_s=1, contact_s=99, has_address=True, is_attested=False)
    assert seen.verdict(999.5, 30.0) == "heard"


def test_who_answers_another_node_is_not_dead():
    evidence = Evidence(30, 30, has_address=True, questions=asked(SILENT))
    now = evidence.questions[-1].at
    assert evidence.verdict(now, 30.0) == "dead"
    seen = evidence.seen(silent_s=30, contact_s=30, has_address=True, is_attested=True)
    assert seen.verdict(now, 30.0) == "attested"
    assert seen.asked(Question(now, "answered")).verdict(now, 30.0) == "answers"


@pytest.mark.parametrize(
    ("outcomes", "later_s", "is_answered"),
    [
        ([], 0.0, False),
        (["answered"], FRESH_S, True),
        (["answered"], FRESH_S + 0.1, False),
        (["silent", "answered"], 0.0, True),
        (["answered", "silent"], 0.0, False),
        (["another"], 0.0, False),
    ],
)
def test_the_last_answer_is_attested_while_it_is_fresh(outcomes, later_s, is_answered):
    evidence = Evidence(30, 30, has_address=True, questions=tuple(Question(5.0, each) for each in outcomes))
    assert evidence.is_answered(5.0 + later_s) is is_answered
