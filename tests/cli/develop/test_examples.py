from pathlib import Path

import pytest
from click.testing import CliRunner

from appliance.cli.develop import local_service
from appliance.cli.develop.examples import CHAT_PAGE, EXAMPLES, chat_page_hint, make_example
from appliance.cli.develop.localnet import localnet
from appliance.ic.principal import Principal
from appliance.localnet.websocket.dialect import DIALECTS, Generation
from tests.cli.processes import TOP

GATEWAY = Principal.self_authenticating(b"gateway")


@pytest.mark.parametrize("name", EXAMPLES)
@pytest.mark.parametrize("generation", DIALECTS)
def test_ping_pong_speaks_everything_and_the_others_v2(name: str, generation: Generation) -> None:
    if generation == "v2" or name == "ping-pong":
        assert make_example(name, generation=generation, gateway=GATEWAY).dialect.generation == generation
    else:
        with pytest.raises(ValueError, match=f"the example {name} speaks v2 only"):
            make_example(name, generation=generation, gateway=GATEWAY)


def test_the_page_is_where_its_build_puts_it() -> None:
    assert CHAT_PAGE == TOP / "demo" / "web" / "dist"
    assert 'outfile: "dist/chat.js"' in (CHAT_PAGE.parent / "build.mjs").read_text()
    assert "/demo/web/dist/" in (TOP / ".gitignore").read_text().splitlines()


def test_a_page_that_is_not_there_comes_with_a_hint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "`make chat` builds it" in chat_page_hint(tmp_path / "dist")
    assert "not in this installation" in chat_page_hint(tmp_path / "site-packages" / "dist")
    assert "chat: setup " in (TOP / "Makefile").read_text()
    assert "--example" in CliRunner().invoke(localnet, ["--help"]).output
    monkeypatch.setattr(local_service, "CHAT_PAGE", tmp_path / "dist")
    assert local_service._chat_page(None) == chat_page_hint()  # type: ignore[arg-type]  # not looked at
