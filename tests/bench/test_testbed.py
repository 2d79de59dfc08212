import asyncio

from appliance.bench import testbed


async def test_errors_in_the_log_are_kept_and_so_is_a_traceback_that_nobody_caught() -> None:
    reader, errors = asyncio.StreamReader(), list[str]()
    lines = ['{"level": "info", "event": "a"}', '{"level": "warning"}', '{"level": "error", "event": "b"}', "Traceback"]
    reader.feed_data("".join(f"{line}\n" for line in [*lines, *["more"] * 100]).encode())
    reader.feed_eof()
    await testbed._collect_errors(reader, errors)
    assert errors[:2] == lines[2:]
    assert len(errors) == testbed._MAX_ERRORS
