"""``icws limits``: what the rate limits do, and to whom."""

from collections.abc import Iterator

from appliance.cli.output.formatting import duration, number
from appliance.cli.output.printing import tell
from appliance.cli.output.table import Column, table, width
from appliance.cli.remote.api_options import client, remote_command
from appliance.config.units import format_rate
from appliance.control.client import path_to
from appliance.control.models import Limit, Limits

_COLUMNS = [
    Column("LIMIT", least=19),
    Column("MODE"),
    Column("RATE", align="right"),
    Column("BURST", align="right"),
    Column("KEYS", align="right", rank=1),
    Column("ALLOWED", align="right"),
    Column("LIMITED", align="right"),
    Column("SHADOWED", align="right"),
]
_WAITING = [
    Column("WHO HAS TO WAIT", least=20, cut="middle"),
    Column("LIMIT", least=10),
    Column("FOR", align="right"),
    Column("TIMES", align="right"),
]


@remote_command
def limits() -> None:
    """Show each rate limit, how often it let in and turned away since the start, and who has to wait now.

    SHADOWED is how often it would have turned away, had its mode not been shadow.
    """
    found = client().get(Limits, path_to("limits"))
    tell(found, _lines(found))


def _lines(found: Limits) -> Iterator[str]:
    yield from table(_COLUMNS, map(_row, found.items), room=width())
    waiting = [
        [key.key, _name(limit), duration(key.retry_after_s), number(key.times)]
        for limit in found.items
        for key in limit.waiting
    ]
    yield ""
    if waiting:
        yield from table(_WAITING, waiting, room=width())
    else:
        yield "nobody has to wait"


def _row(limit: Limit) -> list[str]:
    counts = [limit.burst, limit.keys, limit.allowed, limit.limited, limit.shadowed]
    return [_name(limit), limit.mode, format_rate(limit.rate), *map(number, counts)]


def _name(limit: Limit) -> str:
    return f"{limit.scope} of {limit.canister}" if limit.canister else limit.scope
