import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from appliance.config.schema import Log
from appliance.log import configure_logging


@pytest.fixture(autouse=True)
def _kept() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


@pytest.mark.parametrize("written", ["text", "json"])
def test_a_traceback_is_logged_without_what_local_variables_hold(
    written: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    def fail(token: str) -> None:
        raise RuntimeError("it broke")

    configure_logging(Log(format=written))
    try:
        fail("_".join(["icws", "secret"]))
    except RuntimeError:
        structlog.get_logger("test").exception("failed", peer="9f86d081")
        logging.getLogger("library").exception("failed too")
    told = capfd.readouterr().err
    assert told.count("RuntimeError") >= 2
    assert "9f86d081" in told
    assert "in fail" in told or '"name": "fail"' in told
    assert "icws_secret" not in told
