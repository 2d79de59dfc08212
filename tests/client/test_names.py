"""What `from appliance.client import …` offers."""

import inspect

import appliance.client
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
