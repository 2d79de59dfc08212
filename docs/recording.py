"""A recording of ``icws demo`` as an animated SVG, for README.md.

``python -m docs.recording`` runs the demo and writes ``docs/images/demo.svg``. Lines appear in their order, slowly
enough to be read; the times that the demo prints are those that it measured.
"""

import subprocess
import sys
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from xml.sax.saxutils import escape

FILE = Path(__file__).parent / "images" / "demo.svg"
COMMAND = "make demo"
LABEL = 19
"""Columns of the label before each step."""
COLUMNS = 108
LINE_HEIGHT = 20
CHARACTER_WIDTH = 8.43
"""Of a monospaced font of 14 pixels."""
MARGIN = 16
LINE_S = 0.45
"""Between two lines."""
END_S = 6.0
"""After the last one, before it begins again."""

_STYLE = """\
svg { background: #14181d; }
text { font: 14px ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; fill: #c9d1d9; white-space: pre; }
.label { fill: #7ee787; font-weight: bold; }
.detail { fill: #8b949e; }
.line { opacity: 0; animation: %(length).2fs linear infinite; }
@media (prefers-reduced-motion: reduce) { .line { opacity: 1; animation: none; } }
"""


def demo_lines() -> list[str]:
    """The lines that the demo prints. Raises CalledProcessError where it fails."""
    command = [sys.executable, "-m", "appliance.cli", "demo", "--once", "--port", "0", "--ic-port", "0"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()  # noqa: S603


def labels_of(lines: Sequence[str]) -> list[str]:
    """The steps of the demo, by their labels."""
    return [line[:LABEL].strip() for line in lines if line[:LABEL].strip()]


def render_recording(lines: Sequence[str]) -> str:
    """The picture."""
    rows = list(_rows(lines))
    length = len(rows) * LINE_S + END_S
    width, height = round(COLUMNS * CHARACTER_WIDTH) + 2 * MARGIN, (len(rows) + 1) * LINE_HEIGHT + 2 * MARGIN
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">\n',
        f"<title>{COMMAND}: a message to a canister and back, step by step</title>\n",
        f"<style>\n{_STYLE % {'length': length}}{''.join(_keyframes(len(rows), length))}</style>\n",
        f'<text x="{MARGIN}" y="{MARGIN + 14}">$ {COMMAND}</text>\n',
        *(_line(number, label, text) for number, (label, text) in enumerate(rows)),
        "</svg>\n",
    ]
    return "".join(parts)


def _rows(lines: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Label and text, wrapped."""
    for line in lines:
        label, text = line[:LABEL].strip(), line[LABEL:]
        for number, part in enumerate(textwrap.wrap(text, COLUMNS - LABEL) or [""]):
            yield ("" if number else label), part


def _keyframes(count: int, length: float) -> Iterator[str]:
    """Each line has its own, because all of them disappear at the same moment."""
    for number in range(count):
        hidden = 100 * number * LINE_S / length
        frames = f"{hidden:.2f}% {{ opacity: 0; }} {hidden + 0.5:.2f}%, 100% {{ opacity: 1; }}"
        yield f"@keyframes show{number} {{ {frames} }}\n"


def _line(number: int, label: str, text: str) -> str:
    y = MARGIN + 14 + (number + 1) * LINE_HEIGHT
    kind = "" if label else ' class="detail"'
    x = MARGIN + round(LABEL * CHARACTER_WIDTH)
    return (
        f'<g class="line" style="animation-name: show{number}">'
        f'<text class="label" x="{MARGIN}" y="{y}">{escape(label)}</text>'
        f'<text{kind} x="{x}" y="{y}">{escape(text)}</text></g>\n'
    )


if __name__ == "__main__":
    FILE.write_text(render_recording(demo_lines()))
