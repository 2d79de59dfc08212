"""Plots as SVG elements."""

import math
from collections.abc import Mapping, Sequence
from html import escape

_WIDTH, _HEIGHT = 900, 420
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 150, 15, 35
_BAR, _LABELS = 24, 130
_COLOURS = ("#2a78d6", "#d9622b", "#2b9d5b", "#a04bd0", "#c79a00", "#1aa3a3", "#d23b6e", "#777777")
_SHARES = (0.0, 0.9, 0.99, 0.999, 0.9999)

Points = Sequence[tuple[int, float]]
"""(ns, share of the values that are at most that), ascending."""


def bars(values: Sequence[tuple[str, float]]) -> str:
    """Return one bar for each value, on a linear axis from zero."""
    largest = max((value for _, value in values), default=0.0) or 1.0
    room = _WIDTH - _LABELS - 70
    parts = []
    for number, (name, value) in enumerate(values):
        y, width = number * _BAR, value / largest * room
        parts.append(f'<text x="{_LABELS - 8}" y="{y + 16}" text-anchor="end">{escape(name)}</text>')
        parts.append(f'<rect x="{_LABELS}" y="{y + 4}" width="{width:.1f}" height="16" fill="{_COLOURS[0]}"/>')
        parts.append(f'<text x="{_LABELS + width + 6:.1f}" y="{y + 16}">{value:.0f}</text>')
    return _svg(_WIDTH, len(values) * _BAR + 8, parts)


def latency_curves(curves: Mapping[str, Points]) -> str:
    """Return a curve for each scenario: the percentile to the right, stretched towards 100 %, and the latency upwards.

    Both axes are logarithmic, so that the few slow messages are as visible as the many fast ones.
    """
    values = [max(ns, 1) / 1e6 for points in curves.values() for ns, _ in points]
    low, high = 10 ** math.floor(math.log10(min(values))), 10 ** math.ceil(math.log10(max(values) * 1.01))
    parts = _axes(low, high)
    for number, (name, points) in enumerate(curves.items()):
        colour = _COLOURS[number % len(_COLOURS)]
        # A value holds for every share up to its own; hence two corners each.
        corners, before = [], 0.0
        for ns, share in points:
            y = _y(ns / 1e6, low, high)
            corners += [f"{_x(before):.1f},{y:.1f}", f"{_x(share):.1f},{y:.1f}"]
            before = share
        parts.append(f'<polyline class="curve" stroke="{colour}" points="{" ".join(corners)}"/>')
        y = _TOP + 14 + number * 18
        parts.append(f'<text x="{_WIDTH - _RIGHT + 12}" y="{y}" fill="{colour}">{escape(name)}</text>')
    return _svg(_WIDTH, _HEIGHT, parts)


def _axes(low: float, high: float) -> list[str]:
    right, bottom = _WIDTH - _RIGHT, _HEIGHT - _BOTTOM
    parts = []
    for share in _SHARES:
        x = _x(share)
        parts.append(f'<line class="axis" x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP}" y2="{bottom}"/>')
        parts.append(f'<text x="{x:.1f}" y="{bottom + 18}" text-anchor="middle">{share * 100:.10g} %</text>')
    value = low
    while value <= high * 1.001:
        y = _y(value, low, high)
        parts.append(f'<line class="axis" x1="{_LEFT}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{value:.10g}</text>')
        value *= 10
    return parts


def _x(share: float) -> float:
    nines = min(4.0, -math.log10(max(1e-9, 1 - share)))
    return _LEFT + nines / 4 * (_WIDTH - _RIGHT - _LEFT)


def _y(value_ms: float, low: float, high: float) -> float:
    part = (math.log10(max(value_ms, low)) - math.log10(low)) / (math.log10(high) - math.log10(low))
    return _HEIGHT - _BOTTOM - part * (_HEIGHT - _BOTTOM - _TOP)


def _svg(width: int, height: int, parts: Sequence[str]) -> str:
    return f'<svg viewBox="0 0 {width} {height}" role="img">{"".join(parts)}</svg>'
