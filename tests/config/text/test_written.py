import json
from pathlib import Path

import pytest
from hypothesis import given

from appliance.config.load import load
from appliance.config.schema import Config
from appliance.config.text.written import read_back, written
from appliance.errors import ConfigError
from tests.config.configs import config, configs


@given(configs())
def test_what_is_written_reads_as_itself(one: Config) -> None:
    assert read_back(written(one)) == one


def test_sections_that_may_be_absent_read_as_themselves() -> None:
    """With what they leave open: a reload of a file with them reads every key back."""
    one = Config.model_validate({"cluster": {"url": "redis://house"}})
    assert read_back(written(one)) == one


@given(configs())
def test_what_is_written_is_a_file_that_says_the_same(tmp_path_factory: pytest.TempPathFactory, one: Config) -> None:
    file = tmp_path_factory.getbasetemp() / "written.yaml"
    rooted = load(file, text=json.dumps(written(one)) + "\n").config  # JSON is YAML
    assert load(file, text=json.dumps(written(rooted)) + "\n").config == rooted


def test_values_are_as_people_write_them() -> None:
    values = written(config({"gateway.max_frame": "65536", "drain.rate": "90/m", "control.listen": None}))
    assert values["gateway"]["max_frame"] == "64KiB"
    assert values["gateway"]["ping_interval"] == "25s"
    assert values["gateway"]["identity"] == str(Path("data/identity.pem"))
    assert values["drain"]["rate"] == "90/m"
    assert values["control"]["listen"] == []


def test_what_does_not_belong_together_names_the_key() -> None:
    with pytest.raises(ConfigError, match=r"polling: min_interval \(1s\) is above") as caught:
        read_back({"polling": {"min_interval": "1s", "max_interval": "500ms"}})
    assert caught.value.problems[0].key == "polling"
