import asyncio

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from appliance.config.schema import Config
from appliance.control.reload.reloadable import cleanup_all, commit_all, prepare_all, rollback_all
from tests.control.reload.reloading import RecordingReloadable

NEW = Config()


def parts_of(count: int) -> tuple[list[RecordingReloadable], list[str]]:
    notes: list[str] = []
    return [RecordingReloadable(str(number), notes) for number in range(count)], notes


@given(st.data(), st.integers(1, 6))
def test_a_failed_prepare_leaves_nothing_swapped_and_everything_discarded(data: st.DataObject, count: int) -> None:
    failing = data.draw(st.sets(st.integers(0, count - 1), min_size=1))
    stubborn = data.draw(st.sets(st.integers(0, count - 1)))
    kind = data.draw(st.sampled_from([OSError, ValueError, asyncio.CancelledError]))
    parts, notes = parts_of(count)
    for number in failing:
        parts[number].errors["prepare"] = kind(f"of {number}")
    for number in stubborn:
        parts[number].errors["rollback"] = OSError("it stays")
    with structlog.testing.capture_logs(), pytest.raises(kind, match=f"of {min(failing)}"):
        asyncio.run(prepare_all(parts, NEW))
    prepared = list(range(min(failing)))
    assert notes == [
        *(f"{number} prepare" for number in [*prepared, min(failing)]),
        *(f"{number} rollback" for number in reversed(prepared)),
    ]
    assert all(part.config is None for part in parts)


@given(st.data(), st.integers(0, 6))
def test_one_that_fails_keeps_no_other_from_swapping_or_retiring(data: st.DataObject, count: int) -> None:
    failing = data.draw(st.sets(st.integers(0, max(0, count - 1)))) if count else set()
    parts, notes = parts_of(count)
    for number in failing:
        parts[number].errors |= {"commit": ValueError("it cannot"), "cleanup": OSError("it stays")}

    async def all_of_it() -> bool:
        changes = await prepare_all(parts, NEW)
        is_whole = commit_all(changes)
        await cleanup_all(changes)
        return is_whole

    with structlog.testing.capture_logs() as logged:
        assert asyncio.run(all_of_it()) == (not failing)
    assert len(logged) == 2 * len(failing)
    assert notes == [f"{number} {step}" for step in ("prepare", "commit", "cleanup") for number in range(count)]


async def test_nothing_is_prepared_and_discarded_without_parts() -> None:
    assert await prepare_all([], NEW) == []
    await rollback_all([])
    assert commit_all([])
