"""The snippets of docs/client.md run as they stand."""

import os
import sys
from pathlib import Path

import pytest

from tests.client.snippets import CANISTER, GATEWAY, PAGE, SNIPPETS, talk


def test_the_page_has_the_snippets_that_are_run() -> None:
    assert len(SNIPPETS) == PAGE.count("```python") >= 5
    assert all(snippet.count(GATEWAY) == snippet.count(CANISTER) == 1 for snippet in SNIPPETS)


@pytest.mark.parametrize("snippet", SNIPPETS, ids=range(len(SNIPPETS)))
async def test_a_snippet_runs_as_it_stands(snippet: str, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    code, printed, problem = await talk(snippet, tmp_path, sys.executable, environment)
    assert (code, problem) == (0, "")
    assert "hello" in printed
