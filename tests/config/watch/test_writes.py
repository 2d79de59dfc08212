from pathlib import Path

import pytest

from appliance.config.watch.inotify import (
    ATTRIB,
    CLOSE_WRITE,
    CREATE,
    DELETE,
    MODIFY,
    MOVED_FROM,
    MOVED_TO,
    OVERFLOW,
    Notice,
)
from appliance.config.watch.ways import Way
from appliance.config.watch.writes import Writes

FILE, LINK, OTHER = Path("/etc/icws/2/gateway.yaml"), Path("/etc/icws/current"), Path("/etc/other")
WAY = Way(frozenset({FILE.parent, FILE, LINK.parent}), frozenset({LINK}), FILE)


def after(*notices: tuple[Path, int]) -> tuple[bool, bool]:
    """Whether the file is unfinished, and whether it is finished."""
    writes = Writes()
    for path, mask in notices:
        writes.notice(Notice(path, mask), [WAY])
    return WAY in writes.unfinished, WAY in writes.finished


@pytest.mark.parametrize(
    ("notices", "unfinished", "finished"),
    [
        ([(FILE, MODIFY)], True, False),
        ([(FILE, MODIFY), (FILE, MODIFY), (FILE, CLOSE_WRITE)], False, True),
        ([(FILE, CLOSE_WRITE), (FILE, MODIFY)], True, False),
        ([(FILE, MOVED_TO)], False, True),
        ([(FILE, MODIFY), (FILE, DELETE)], False, False),
        ([(FILE, MODIFY), (FILE, MOVED_FROM)], False, False),
        ([(FILE, CREATE), (FILE, ATTRIB)], False, False),
        ([(LINK, MOVED_TO)], False, True),
        ([(LINK, CREATE)], False, True),
        ([(OTHER, MODIFY), (OTHER, CLOSE_WRITE)], False, False),
        ([(FILE, MODIFY), (Path(), OVERFLOW)], False, False),
    ],
)
def test_a_file_is_unfinished_from_a_write_until_it_is_closed(
    notices: list[tuple[Path, int]], *, unfinished: bool, finished: bool
) -> None:
    assert after(*notices) == (unfinished, finished)


def test_a_file_that_is_not_watched_any_more_is_waited_for_by_nobody() -> None:
    writes = Writes()
    writes.notice(Notice(FILE, MODIFY), [WAY])
    writes.follow([])
    assert not writes.unfinished
