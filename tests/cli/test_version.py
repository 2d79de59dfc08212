from importlib.metadata import version

import pytest
from click.testing import CliRunner

from appliance.cli.main import main
from appliance.installation import installation
from appliance.protocol.generations import SESSIONS


def test_a_version_is_one_line():
    result = CliRunner().invoke(main, ["--version"])
    assert (result.exit_code, result.output) == (0, f"icws, version {version('icws')}\n")


@pytest.mark.parametrize("options", [["--version", "--verbose"], ["--verbose", "--version"]])
def test_verbose_adds_what_it_runs_on(options):
    result = CliRunner().invoke(main, options)
    first, *rest = result.output.splitlines()
    assert (result.exit_code, first) == (0, f"icws, version {version('icws')}")
    facts = dict(line.split(":", 1) for line in rest)
    assert {name: value.strip() for name, value in facts.items()}.items() >= {
        "native core": version("icws"),
        "generations": ", ".join(SESSIONS),
        "installed by": str(installation()),
    }.items()
    assert {"Python", "machine"} <= set(facts)


def test_verbose_alone_is_refused():
    result = CliRunner().invoke(main, ["--verbose", "status"])
    assert result.exit_code == 2
    assert "--verbose belongs to --version" in result.output
