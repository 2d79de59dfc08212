"""Every snippet of the documentation runs, or is listed with the test that runs it."""

import ast
import asyncio
import json
import re
import time
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from click.testing import CliRunner

from appliance.cli.main import main
from appliance.crypto import CandidTypes
from appliance.localnet.net import Localnet
from appliance.localnet.state.clock import ManualClock
from appliance.localnet.subnet.conditions import Conditions
from tests.docs.pages import TOP, Block, blocks, commands
from tests.docs.world import SILENT
from tests.localnet.wasm.modules import module

ELSEWHERE = {
    ("docs/client.md", "python"): "tests/client/snippets.py",
    ("docs/plugins.md", "python"): "tests/plugins/test_documentation.py",
    ("docs/scaling.md", "yaml"): "tests/cluster/test_page.py",
    ("docs/plugins.md", "yaml"): "tests/plugins/test_documentation.py",
    ("docs/localnet.md", "js"): "tests/interop/test_deploy.py",
    ("demo/web/reconnect/README.md", "js"): "tests/browser/test_reconnect.py",
}
"""Which test runs the snippets of a page."""
EXCERPTS = {"js": "build.mjs", "ts": "src/chat.ts"}
"""Snippets of docs/browser.md are parts of these files of demo/web, by their language."""
SNIPPETS = [block for block in blocks() if block.language in ("python", "js", "ts", "yaml", "toml", "json")]


def place_of(block: Block) -> tuple[str, str]:
    return str(block.page.relative_to(TOP)), block.language


def of(page: str, *languages: str) -> list[Block]:
    return [block for block in SNIPPETS if place_of(block)[0] == page and block.language in languages]


def test_every_snippet_is_run_here_or_elsewhere() -> None:
    here = {
        ("docs/localnet.md", "python"),
        ("docs/browser.md", "js"),
        ("docs/browser.md", "ts"),
        ("docs/metrics.md", "yaml"),
    }
    assert {place_of(block) for block in SNIPPETS} == here | set(ELSEWHERE)
    for (page, _), test in ELSEWHERE.items():
        source = (TOP / test).read_text()
        assert re.search(rf"{Path(page).name}|EXAMPLES.with_name|deploy.cjs", source), f"{test} does not read {page}"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the reader, with a module in it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "chat.wasm").write_bytes(module(SILENT))
    return tmp_path


@pytest.mark.parametrize("block", of("docs/localnet.md", "python"), ids=lambda block: block.text.split("(")[0])
async def test_a_snippet_of_the_local_network_runs(block: Block, folder: Path) -> None:
    names: dict[str, Any] = {
        "CandidTypes": CandidTypes,
        "Conditions": Conditions,
        "Localnet": Localnet,
        "ManualClock": ManualClock,
        "Path": Path,
        "now_ns": time.time_ns(),
    }
    running = eval(compile(block.text, "localnet.md", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT), names)  # noqa: S307
    assert asyncio.iscoroutine(running)
    await running


@pytest.mark.parametrize("block", of("docs/metrics.md", "yaml"), ids=lambda block: block.text.split(":")[0])
def test_a_snippet_of_the_metrics_is_a_part_of_a_configuration(block: Block, tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text("canisters: [{id: bkyz2-fmaaa-aaaaa-qaaaq-cai}]\n" + block.text)
    result = CliRunner().invoke(main, ["check", str(file)])
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize("block", of("docs/browser.md", *EXCERPTS), ids=lambda block: block.language)
def test_a_snippet_of_the_chat_page_is_part_of_it(block: Block) -> None:
    source = (TOP / "demo" / "web" / EXCERPTS[block.language]).read_text()
    assert dedent(block.text) in dedent(source) or block.text in source


def test_the_packages_of_a_page_are_those_of_the_chat_page() -> None:
    (command,) = [command for command in commands() if command.startswith("npm install ")]
    package = json.loads((TOP / "demo" / "web" / "package.json").read_text())
    wanted = {f"{name}@{version}" for name, version in package["dependencies"].items() if version != "*"}
    assert set(re.findall(r"\S+@[\d.]+", command)) == wanted
