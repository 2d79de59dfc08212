"""Formats numbers, sizes and times for people."""

from datetime import UTC, datetime

_DURATIONS = (("d", 86400), ("h", 3600), ("m", 60), ("s", 1))
_SIZES = ("B", "KiB", "MiB", "GiB", "TiB")


def duration(seconds: float | None) -> str:
    """Return at most two units: ``3d 4h``, ``12m 5s``, ``1.5s``, ``20ms``; ``-`` for None."""
    if seconds is None:
        return "-"
    sign, seconds = ("-", -seconds) if seconds < 0 else ("", seconds)
    if seconds < 0.0009995:  # what rounds to 1000 takes the next unit
        return f"{sign}{seconds * 1e6:.0f}µs" if seconds else "0s"
    if seconds < 0.9995:
        return f"{sign}{seconds * 1000:.0f}ms"
    if seconds < 10:
        return f"{sign}{seconds:.1f}".removesuffix(".0") + "s"
    parts: list[str] = []
    left = round(seconds)
    for unit, size in _DURATIONS:
        amount, left = divmod(left, size)
        if amount or parts:
            parts.append(f"{amount}{unit}" if amount else "")
    return sign + " ".join(part for part in parts[:2] if part)


def size(count: int | None) -> str:
    """``512 B``, ``1.5 KiB``; ``-`` for None."""
    if count is None:
        return "-"
    amount, unit = float(count), 0
    while amount >= 1023.5 and unit < len(_SIZES) - 1:
        amount, unit = amount / 1024, unit + 1
    return f"{amount:.1f} {_SIZES[unit]}" if unit and amount < 9.95 else f"{amount:.0f} {_SIZES[unit]}"


def number(count: int | None) -> str:
    """Group digits by spaces: ``1 234 567``; ``-`` for None."""
    return "-" if count is None else f"{count:,}".replace(",", " ")


def counted(count: int, noun: str) -> str:
    """``1 session``, ``2 sessions``, ``no sessions``."""
    return f"{number(count) if count else 'no'} {noun}{'' if count == 1 else 's'}"


def time(moment: datetime | None) -> str:
    """Return date and time to the second in UTC, as in the log; ``-`` for None."""
    return "-" if moment is None else f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S}"


def clock(moment: datetime) -> str:
    """Return the time of day to the millisecond in UTC."""
    return f"{moment.astimezone(UTC):%H:%M:%S.%f}"[:-3]


def ago(moment: datetime | None, now: datetime | None = None) -> str:
    """Return ``2m 5s ago`` or ``in 10s``; ``never`` for None."""
    if moment is None:
        return "never"
    seconds = ((now or datetime.now(UTC)) - moment).total_seconds()
    return f"{duration(seconds)} ago" if seconds >= 0 else f"in {duration(-seconds)}"


def canister_label(canister: str | None, name: str | None) -> str:
    """Return ``chat (bkyz2-…)``, or the id of a canister without a name; ``-`` for None."""
    if canister is None:
        return "-"
    return f"{name} ({canister})" if name else canister


def yes_no(value: bool) -> str:
    """``yes`` or ``no``."""
    return "yes" if value else "no"
