"""The choice of scenarios; that they run is shown by ``tests/cli/develop/test_bench.py``."""

import pytest

from appliance.bench.run import Run
from appliance.bench.scenarios import GATEWAY_SETTINGS, SCENARIOS, select


def test_without_names_all_are_chosen() -> None:
    assert select([]) == list(SCENARIOS)


def test_a_family_is_all_of_its_scenarios() -> None:
    assert select(["down", "echo", "down-1"]) == ["down-1", "down-10", "down-50", "down-50-new", "down-200", "echo"]


def test_an_unknown_name_lists_the_known() -> None:
    with pytest.raises(ValueError, match=r"'dawn'; there are echo, up-20"):
        select(["dawn"])


def test_options_replace_fields_of_the_load() -> None:
    load = Run(["echo"], {"clients": 3, "block_s": 0.0}).load_of("echo")
    assert (load.clients, load.block_s, load.rate) == (3, 0.0, SCENARIOS["echo"][1].rate)


def test_settings_belong_to_scenarios() -> None:
    assert set(GATEWAY_SETTINGS) <= set(SCENARIOS)
