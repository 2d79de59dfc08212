from appliance.cli.diagnosis.findings import fault, note, ok, warning
from tests.cli.output.styles import unstyled


def text(finding: object, max_width: int | None) -> list[str]:
    return [unstyled(line) for line in finding.lines(max_width)]  # type: ignore[attr-defined]


def test_a_finding_is_a_line_and_its_advice_another():
    assert text(ok("endpoint", "answers"), None) == ["  ✓ endpoint        answers"]
    assert text(fault("clock", "is off", "set it"), None) == [
        "  ✗ clock           is off",
        "                    → set it",
    ]


def test_marks_tell_levels_apart():
    marks = [
        text(each, None)[0][2] for each in (ok("a", "b"), note("a", "b"), warning("a", "b", "c"), fault("a", "b", "c"))
    ]
    assert len(set(marks)) == 4


def test_what_is_long_is_folded_below_itself():
    lines = text(warning("open files", "many words " * 12, "much to be done " * 9), 60)
    assert max(map(len, lines)) <= 60
    assert {line[:20] for line in lines[1:]} == {" " * 20}


def test_a_program_gets_all_of_it():
    assert fault("a", "b", "c").as_json() == {"level": "fault", "subject": "a", "text": "b", "advice": "c"}
