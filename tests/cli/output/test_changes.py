from datetime import UTC, datetime, timedelta

from appliance.cli.output.changes import (
    change_lines,
    changes_summary,
    confirmation_lines,
    flow_style,
    pending_restart_lines,
)
from appliance.control.models import Change
from tests.cli.output.styles import unstyled

CANISTER = "canisters[bkyz2-fmaaa-aaaaa-qaaaq-cai]"


def change(key: str, old: object, new: object, effect: str = "live", sessions: int = 0) -> Change:
    return Change.model_validate({"key": key, "old": old, "new": new, "effect": effect, "sessions": sessions})


def lines(*changes: Change, max_width: int | None = None) -> list[str]:
    return [unstyled(line) for line in change_lines(changes, max_width=max_width)]


def test_what_is_added_changed_and_removed():
    item = {"id": "bkyz2-fmaaa-aaaaa-qaaaq-cai", "name": None, "generation": ["v1", "v2"], "paused": False}
    assert lines(
        change(CANISTER, None, item),
        change("polling.min_interval", "50ms", "70ms", sessions=1200),
        change("gateway.max_frame", "2MiB", "1MiB", "new sessions"),
        change("plugins[audit]", {"config": {"a": True}}, None, "restart", 1),
    ) == [
        f"+ {CANISTER}  at once",
        "    {id: bkyz2-fmaaa-aaaaa-qaaaq-cai, generation: [v1, v2], paused: false}",
        "~ polling.min_interval  at once, affects 1 200 sessions",
        "    50ms → 70ms",
        "~ gateway.max_frame  for new sessions",
        "    2MiB → 1MiB",
        "- plugins[audit]  at the next start, affects 1 session",
        "    {config: {a: true}}",
        "4 changes: 2 live, 1 new sessions, 1 restart",
    ]


def test_long_values_have_a_line_each_and_keep_to_the_room():
    url = [f"https://endpoint-{number}.example.org" for number in range(4)]
    shown = lines(change("network.url", url, url[:1]), max_width=60)
    assert max(map(len, shown)) <= 60
    assert any(line.startswith("    → [https://endpoint-0") for line in shown)


def test_what_nobody_could_read_is_shortened():
    (shown,) = [line for line in lines(change("network.root_key", "ab" * 133, "fetch")) if "→" in line]
    assert len(shown) < 120
    assert shown.endswith("ab → fetch")


def test_nothing_is_said_to_be_nothing():
    assert lines() == [changes_summary([])] == ["no changes"]
    assert list(pending_restart_lines([])) == list(confirmation_lines(None)) == []


def test_what_there_is_to_do():
    assert list(pending_restart_lines(["watch", "gateway.identity"])) == [
        "pending until restart: watch, gateway.identity"
    ]
    (line,) = confirmation_lines(datetime.now(UTC) + timedelta(seconds=59.8))
    assert line.startswith("`icws confirm` keeps it; otherwise it is rolled back in 1m (")


def test_values_on_one_line():
    assert flow_style(None) == "null"
    assert flow_style({"a": None, "b": [True, 1.5, "x"]}) == "{b: [true, 1.5, x]}"
