"""Parts of the script by themselves."""

import json
from collections.abc import AsyncIterator
from itertools import pairwise
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser

from tests.control.page.browser import Tab, forwarded, tab
from tests.control.plane import running


async def run(shown: Tab, module: str, script: str, value: Any = None) -> Any:
    """What a function of the script's own modules makes of a value."""
    return await shown.page.evaluate(
        f"async (value) => {{ const m = await import('./static/{module}'); return ({script})(m, value); }}", value
    )


@pytest.mark.parametrize(
    ("call", "text"),
    [
        ("m.duration(0)", "0 ms"),
        ("m.duration(0.00042)", "420 µs"),
        ("m.duration(0.0421)", "42.1 ms"),
        ("m.duration(0.0009996)", "1 ms"),
        ("m.duration(0.09996)", "100 ms"),
        ("m.duration(0.9996)", "1 s"),
        ("m.duration(2.44)", "2.4 s"),
        ("m.duration(59.6)", "1 min"),
        ("m.duration(3599.9)", "1 h"),
        ("m.duration(185)", "3 min 5 s"),
        ("m.duration(90061)", "1 d 1 h"),
        ("m.duration(null)", "\u2013"),
        ("m.bytes(1023)", "1023 B"),
        ("m.bytes(1536)", "1.5 KiB"),
        ("m.bytes(1024 ** 2 - 1)", "1 MiB"),
        ("m.bytes(5 * 1024 ** 3)", "5 GiB"),
        ("m.clock(65)", "1:05"),
        ("m.clock(3661)", "1:01:01"),
        ("m.clock(-1)", "0:00"),
        ("m.count(1234567)", "1,234,567"),
        ("m.count(1234567, true)", "1.2 M"),
        ("m.count(999999, true)", "1 M"),
        ("m.rate(0.1234)", "0.12"),
        ("m.rate(123.4)", "123"),
        ("m.pace(20)", "20 /s"),
        ("m.pace(1 / 60)", "1 /min"),
        ("m.pace(1 / 3600)", "1 /h"),
        ("m.shorten('abcdefghij', 7)", "abc…hij"),
        ("m.shorten('short', 7)", "short"),
        ("m.many(1, 'session')", "1 session"),
        ("m.many(2000, 'session')", "2,000 sessions"),
    ],
)
async def test_numbers_are_written_as_people_read_them(plain: Tab, call: str, text: str) -> None:
    assert await run(plain, "format.js", f"(m) => {call}") == text


async def test_the_scale_of_a_chart_covers_what_is_shown(plain: Tab) -> None:
    values = [10.0**power * factor for power in range(-7, 8) for factor in (1, 1.0001, 1.9, 2, 4.99, 5, 7.3, 9.999)]
    for most, marks in zip(
        values, await run(plain, "chart.js", "(m, values) => values.map((v) => m.ticks(v))", values), strict=True
    ):
        assert marks[0] == 0
        assert most <= marks[-1] * (1 + 1e-9) <= most * 2 + marks[1]
        assert 2 <= len(marks) <= 6
        steps = {round((b - a) / marks[1], 6) for a, b in pairwise(marks)}
        assert steps == {1.0}
    assert await run(plain, "chart.js", "(m) => m.ticks(3, 4, 1)") == [0, 1, 2, 3]


async def test_a_stream_is_read_alike_wherever_it_is_cut(plain: Tab) -> None:
    text = ': hello\n\nid: 1\nevent: reload\ndata: {"a": 1,\ndata: "b": 2}\n\n'
    text += "id:2\r\ndata:x\r\n\r\nevent: none\n\ndata\n\n"
    whole = [{"id": "1", "event": "reload", "data": '{"a": 1,\n"b": 2}'}, {"id": "2", "data": "x"}, {"data": ""}]
    script = """(m, text) => Array.from({ length: text.length }, (_, at) => {
      const parser = new m.EventParser();
      return [...parser.push(text.slice(0, at)), ...parser.push(text.slice(at))];
    })"""
    for found in await run(plain, "stream.js", script, text):
        assert found == whole


async def test_no_duration_is_written_with_the_next_unit_s_number(plain: Tab) -> None:
    values = [0.9994, 0.99951, 0.9996, 0.99999]
    seconds = [value * scale for value in values for scale in (1e-3, 1, 60, 3600, 86400)]
    for text in await run(plain, "format.js", "(m, values) => values.map((v) => m.duration(v))", seconds):
        number, unit = text.split()[:2]
        assert float(number) < {"µs": 1000, "ms": 1000, "s": 60, "min": 60, "h": 24, "d": 1000}[unit], text


async def test_samples_that_are_far_apart_give_rates_too(plain: Tab) -> None:
    """An hour's samples are further apart than the times that errors and latencies are of otherwise."""
    looks = [look(0, 0, 0), look(180_000, 36, 6), look(360_000, 36, 6)]
    _, second, third = await run(plain, "samples.js", "(m, looks) => m.samplesOf(looks)", looks)
    assert (second["up"], second["refused"], second["gateway_to_ic"]) == (0.2, 2, 0.25)
    assert (third["up"], third["refused"], third["gateway_to_ic"]) == (0, 0, None)


async def test_a_message_that_is_not_relayed_is_one_error(plain: Tab) -> None:
    before, after = look(0, 0, 5), look(2000, 0, 6)
    before["counters"]["relay_closes"], after["counters"]["relay_closes"] = 1, 2
    before["totals"]["failed_relays"], after["totals"]["failed_relays"] = 1, 2
    _, shown = await run(plain, "samples.js", "(m, looks) => m.samplesOf(looks)", [before, after])
    assert (shown["failed_relays"], shown["refused"]) == (1, 0)


async def test_every_close_code_has_a_meaning_of_its_own(plain: Tab) -> None:
    meanings = await run(plain, "close_codes.js", "(m, codes) => codes.map(m.meaningOf)", [4102, 4509, 1012, 3999])
    assert meanings == [
        "the canister or the IC rejected a message; come back",
        "a canister that is not served; do not come back",
        "the gateway stops, drains or restarts; come back",
        "a code of the client's own",
    ]
    assert await run(
        plain, "close_codes.js", "(m, codes) => codes.map(m.isNormal)", [1000, 1001, 1005, 1006, 4102]
    ) == [
        *(True, True, True, False, False),
    ]


async def test_places_in_a_text_are_lines(plain: Tab) -> None:
    fault = {"place": "text:27:9", "key": "canisters[3].id", "problem": "is wrong"}
    script = """(m, fault) => {
      const alert = document.createElement("div");
      m.showProblem(alert, Object.assign(new Error("x"), { title: "No", faults: [fault] }));
      return alert.textContent;
    }"""
    assert await run(plain, "notices.js", script, fault) == "No. line 27, column 9 canisters[3].id: is wrong"
    assert await run(plain, "notices.js", script, fault | {"place": "body"}) == "No. canisters[3].id: is wrong"
    assert await run(plain, "notices.js", "(m, text) => m.sentence(text)", "text:3:1: version: missing") == (
        "Line 3, column 1: version: missing."
    )


def look(at: int, count: int, refused: int) -> dict[str, Any]:
    return {
        "at": at,
        "sessions": 3,
        "connections": 4,
        "counters": {"relayed": count, "delivered": count * 2},
        "totals": {"refused": refused},
        "hops": [{"name": "gateway_to_ic", "count": count, "sum_s": count * 0.25}],
    }


async def test_charts_show_what_has_changed_between_two_looks(plain: Tab) -> None:
    looks = [look(0, 0, 5), look(2000, 10, 6), look(61_000, 10, 9), look(63_000, 10, 9)]
    first, second, third, fourth = await run(plain, "samples.js", "(m, looks) => m.samplesOf(looks)", looks)
    assert (first["up"], first["refused"], first["gateway_to_ic"], first["sessions"]) == (None, None, None, 3)
    assert (second["up"], second["down"], second["refused"], second["gateway_to_ic"]) == (5, 10, 1, 0.25)
    assert (third["up"], third["refused"], third["gateway_to_ic"]) == (0, 3, None), "errors are of the last minute"
    assert fourth["refused"] == 0


async def test_counters_that_began_anew_are_of_another_process(plain: Tab) -> None:
    script = "(m, looks) => looks.reduce((before, now) => m.follow(before, now), []).map(({ at }) => at)"
    assert await run(plain, "samples.js", script, [look(0, 5, 0), look(2000, 6, 0)]) == [0, 2000]
    assert await run(plain, "samples.js", script, [look(0, 5, 0), look(2000, 4, 0)]) == [2000]
    assert await run(plain, "samples.js", script, [look(0, 5, 0), look(700_000, 6, 0)]) == [700_000]


async def test_samples_go_on_where_the_clock_of_the_gateway_was_set_back(plain: Tab) -> None:
    script = "(m, [before, after]) => m.isNext(before === null ? before : { at: before }, { at: after })"
    times = [(None, 0), (0, 999), (0, 1000), (3_600_000, 0)]
    assert [await run(plain, "samples.js", script, list(each)) for each in times] == [True, False, True, True]


async def test_nested_values_are_written_as_keys(plain: Tab) -> None:
    values = {
        "a": {"b": 1, "empty": {}},
        "canisters": [{"id": "x-cai", "polling": {"timeout": "5s"}}],
        "origins": ["*"],
    }
    flat = await run(plain, "views/values.js", "(m, values) => m.flatten(values)", values)
    assert json.loads(json.dumps(flat)) == [
        ["a.b", 1],
        ["a.empty", {}],
        ["canisters[x-cai].id", "x-cai"],
        ["canisters[x-cai].polling.timeout", "5s"],
        ["origins", ["*"]],
    ]


@pytest_asyncio.fixture(loop_scope="session", scope="module")
async def plain(browser: Browser) -> AsyncIterator[Tab]:
    """A tab for all tests that only run parts of the script."""
    async with (
        running() as plane,
        forwarded(plane.control.url.removeprefix("unix:")) as url,
        tab(browser, url) as shown,
    ):
        yield shown
