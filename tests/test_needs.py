import pytest

from tests.needs import program


@pytest.mark.parametrize(("value", "outcome"), [("1", pytest.fail.Exception), ("0", pytest.skip.Exception)])
def test_what_is_not_here_skips_a_test_and_fails_it_in_ci(
    monkeypatch: pytest.MonkeyPatch, value: str, outcome: type[BaseException]
) -> None:
    monkeypatch.setenv("ICWS_REQUIRE_PROGRAMS", value)
    with pytest.raises(outcome, match="no-such-program is not installed"):
        program("no-such-program")
