import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from appliance.config.schema import Config, Log
from appliance.log import Logging, configure_logging


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


async def test_a_canister_has_its_name_beside_it_also_after_a_reload(capfd: pytest.CaptureFixture[str]) -> None:
    canister = "bkyz2-fmaaa-aaaaa-qaaaq-cai"
    log = Logging(Log())
    for name in ("chat", "forum"):
        (await log.prepare(Config.model_validate({"canisters": [{"id": canister, "name": name}]}))).commit()
        structlog.get_logger("test").info("polling works again", canister=canister)
        line = capfd.readouterr().err
        assert canister in line
        assert name in line
    structlog.get_logger("test").info("polling works again", canister="aaaaa-aa")
    assert "name" not in capfd.readouterr().err


@pytest.mark.parametrize("written", ["text", "json"])
def test_foreign_text_cannot_act_on_the_terminal_nor_look_like_a_line_of_the_log(
    written: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    hostile = "\x1b]0;x\x07\r\n2026-01-01\u202e"
    configure_logging(Log(format=written))
    structlog.get_logger("test").warning("refused" + hostile, cause=hostile)
    logging.getLogger("library").warning("refused %s", hostile)
    told = capfd.readouterr().err
    assert told.count("\n") == 2
    assert not set(told) & set("\x1b\x07\r\u202e")
    structlog.get_logger("test").error("failed", exc_info=RuntimeError(hostile))
    assert not set(capfd.readouterr().err) & set("\x1b\x07\r\u202e")
