"""What ``docs/plugins.md`` shows works."""

import re
from pathlib import Path

import pytest

from appliance.config.schema import Plugin as Entry
from appliance.errors import RefusedByPlugin
from appliance.gateway.hooks import Hooks, Visit, Who
from appliance.plugins.load import load
from appliance.plugins.specification import DECISIONS, NOTIFICATIONS

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "plugins.md").read_text()
SMALLEST, WITH_SETTINGS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
CLIENT = "2vxsx-fae_7"


async def refused(path: Path, hook: str, config: dict[str, object], **facts: object) -> str | None:
    """What the example says no with."""
    plugin = await load(Entry(path=path, timeout=10.0, config=config))
    try:
        await plugin.guards[hook].decide(**facts)
    except RefusedByPlugin as refusal:
        return str(refusal)
    finally:
        await plugin.stop()
    return None


@pytest.mark.parametrize(("agent", "answer"), [("curl/8", "browsers only"), ("Mozilla/5.0", None)])
async def test_the_smallest_one(tmp_path, agent, answer):
    (tmp_path / "smallest.py").write_text(SMALLEST)
    visit = Visit("192.0.2.1", "/", {"user-agent": agent}, "v2", None)
    assert await refused(tmp_path / "smallest.py", "admit", {}, visit=visit) == answer


@pytest.mark.parametrize(("member", "answer"), [("2vxsx-fae", None), ("aaaaa-aa", "members only")])
async def test_the_one_with_settings(tmp_path, member, answer):
    (tmp_path / "members.py").write_text(WITH_SETTINGS)
    who = Who("0badc0de", "192.0.2.1", "/", "v2", "aaaaa-aa", CLIENT)
    assert await refused(tmp_path / "members.py", "open", {"members": [member]}, who=who) == answer


def test_every_hook_is_in_the_table():
    rows = re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE)
    assert rows == [*DECISIONS, *NOTIFICATIONS, "stop"]
    assert tuple(rows[:-1]) == Hooks.__slots__
