"""Results as tables for terminals."""

from collections.abc import Sequence

from appliance.bench.report.document import ms
from appliance.bench.result import Result

HEADS = [
    *("scenario", "offered", "done", "/s", "CPU µs", "on loop", "cores", "B/frame", "MiB"),
    *("p50 ms", "p90", "p99", "max", "lost", "again"),
]


def table(results: Sequence[Result]) -> str:
    """One line for each scenario, and below what the figures do not show: notes and faults."""
    notes = [f"{result.scenario}: {result.note}" for result in results if result.note]
    faults = [f"{result.scenario}: {fault}" for result in results for fault in result.faults]
    return "\n".join([aligned([HEADS, *(row(result) for result in results)]), *notes, *faults])


def row(result: Result) -> list[str]:
    """The cells of a result, as in HEADS; ``-`` for what is not known or means nothing there."""
    quantiles = [ms(result.latency.quantile(share)) for share in (0.5, 0.9, 0.99, 1.0)]
    return [
        result.scenario,
        str(result.offered),
        str(result.done),
        figure(result.rate),
        figure(result.cpu_us),
        figure(result.loop_cpu_us),
        figure(result.cores, 2),
        figure(result.bytes_per_frame),
        figure(None if result.rss is None else result.rss / 2**20),
        *(figure(value, 1) for value in quantiles),
        str(result.lost),
        str(result.repeated),
    ]


def figure(value: float | None, digits: int | None = None) -> str:
    """Format a number: with so many decimals, or with one below 100; ``-`` for None."""
    if value is None:
        return "-"
    return f"{value:.{(1 if abs(value) < 100 else 0) if digits is None else digits}f}"


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Put cells below each other: the first column to the left, the others to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "  ".join(
            cell.rjust(width) if at else cell.ljust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    return "\n".join(line.rstrip() for line in lines)
