"""The names and numbers of the generations."""

import pytest

from appliance.protocol.generations import SESSIONS


@pytest.mark.parametrize(("name", "session"), SESSIONS.items())
def test_a_session_has_the_name_and_the_number_of_its_generation(name, session):
    assert name == session.name == f"v{session.generation}"
