"""What `from appliance.client import …` and `from icws import …` offer."""

import inspect
import re
import subprocess
import sys
from pathlib import Path

import appliance.client
import appliance.client.sync
import icws
import icws.sync
from appliance import errors as all_errors
from appliance.client import errors
from appliance.errors import GatewayError


def test_every_public_name_is_there() -> None:
    assert sorted(set(appliance.client.__all__)) == appliance.client.__all__
    for name in appliance.client.__all__:
        assert getattr(appliance.client, name) is not None


def test_every_error_of_the_client_is_public() -> None:
    defined = {
        name
        for name, kind in inspect.getmembers(errors, inspect.isclass)
        if issubclass(kind, GatewayError) and kind.__module__ == errors.__name__
    }
    assert defined <= set(appliance.client.__all__)


def test_every_error_and_class_that_the_page_names_is_public() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "client.md").read_text()
    named = set(re.findall(r"`([A-Z][a-z]+[A-Za-z]*)`", page)) - {"None", "RuntimeError", "TimeoutError"}
    assert {"CandidError", "Malformed", "OpenTimeout", "SequenceGap"} <= named
    assert named <= set(appliance.client.__all__)


def test_every_error_that_connect_raises_is_public() -> None:
    classes = [name for name in dir(all_errors) if name[0].isupper()]
    raised = {name for name in classes if re.search(rf"\b{name}\b", str(appliance.client.connect.__doc__))}
    assert {"ConfigError", "KeyUnusable"} <= raised <= set(appliance.client.__all__)


def test_the_distribution_is_imported_by_its_name() -> None:
    assert icws.__all__ == appliance.client.__all__
    assert all(getattr(icws, name) is getattr(appliance.client, name) for name in icws.__all__)
    assert icws.sync.connect is appliance.client.sync.connect


def test_the_module_is_the_command() -> None:
    command = [sys.executable, "-m", "icws", "connect", "--help"]
    shown = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603
    assert shown.stdout.startswith("Usage: icws connect")
