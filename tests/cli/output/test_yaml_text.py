from typing import Any

import yaml
from hypothesis import given
from hypothesis import strategies as st

from appliance.cli.output.yaml_text import scalar, yaml_lines
from appliance.config.text.document import read_document

VALUES: dict[str, Any] = {
    "log": {"level": "info"},
    "gateway": {"tls": None, "origins": ["*"], "max_connections": 20000},
    "canisters": [{"id": "bkyz2-fmaaa-aaaaa-qaaaq-cai", "name": None, "generation": ["v1", "v2"], "paused": False}],
    "plugins": [],
}
ORIGINS = {"log.level": "gateway.yaml:2:3", "canisters": "variable ICWS_CANISTERS", "plugins": "default"}
SCALARS = st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.text(st.characters(codec="utf-8"), max_size=30)


def text(*arguments: Any, **options: Any) -> str:
    return "".join(f"{line}\n" for line in yaml_lines(*arguments, **options))


def test_a_section_is_written_as_people_write_it():
    assert text(VALUES) == (
        "log:\n  level: info\n"
        'gateway:\n  tls: null\n  origins: ["*"]\n  max_connections: 20000\n'
        "canisters:\n  - id: bkyz2-fmaaa-aaaaa-qaaaq-cai\n    generation: [v1, v2]\n    paused: false\n"
        "plugins: []\n"
    )


def test_origins_stand_behind_values_as_comments():
    lines = text(VALUES, ORIGINS).splitlines()
    assert lines[1] == f"{'  level: info':<40}  # gateway.yaml:2:3"
    assert f"{'canisters:':<40}  # variable ICWS_CANISTERS" in lines
    assert yaml.safe_load("\n".join(lines)) == yaml.safe_load(text(VALUES))


def test_what_is_equal_elsewhere_is_left_out():
    same = {"log": {"level": "info"}, "gateway": {"tls": None, "origins": [], "max_connections": 20000}}
    assert (
        text({**VALUES, "canisters": []}, unless={**same, "canisters": []})
        == 'gateway:\n  origins: ["*"]\nplugins: []\n'
    )
    assert text(VALUES, unless=VALUES) == ""


@given(value=SCALARS | st.lists(SCALARS, max_size=3) | st.dictionaries(st.text("abc", min_size=1), SCALARS, max_size=3))
def test_what_is_written_is_read_back_as_it_was(value: Any):
    """By our own loader, which is stricter than YAML."""
    written = f"key: {scalar(value)}\n"
    found = read_document(written, "text")
    assert not found.problems
    assert found.value == {"key": value}
