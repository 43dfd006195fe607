"""The picture of `compare.py`: bars in panels, as SVG for a reader who prefers light or dark, on whichever page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

WIDTH, GAP, MARGIN = 480, 40, 16
ROW, BAR = 22, 14
TITLE = 40
NAMES, LABELS = 190, 88  # room for a row's name, and for its figure

STYLE = """
  text { font: 13px system-ui, -apple-system, "Segoe UI", sans-serif; fill: #24292f }
  .title { font-weight: 600; font-size: 14px }
  .name { text-anchor: end }
  .ours { font-weight: 700 }
  .note { fill: #57606a; font-style: italic }
  rect { fill: #a3adb8 } rect.ours { fill: #0b6bcb } rect.page { fill: #ffffff }
  line { stroke: #8c959f }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 } .note { fill: #9198a1 }
    rect { fill: #6e7681 } rect.ours { fill: #4ea1ff } rect.page { fill: #0d1117 }
    line { stroke: #6e7681 }
  }
"""

PAGE = '<rect class="page" width="100%" height="100%" rx="8"/>'


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """Bars under a title: name, value or None, the value in words, whether it is ours."""

    title: str
    bars: Sequence[tuple[str, float | None, str, bool]]

    @property
    def height(self) -> int:
        return TITLE + ROW * len(self.bars)


def draw(panels: Sequence[Panel], *, columns: int = 2) -> str:
    """Return the SVG: panels in rows of so many, each with a scale of its own that begins at 0."""
    parts, top = [], MARGIN
    for start in range(0, len(panels), columns):
        line = panels[start : start + columns]
        for column, panel in enumerate(line):
            parts += draw_panel(panel, MARGIN + column * (WIDTH + GAP), top)
        top += max(panel.height for panel in line) + MARGIN
    width = 2 * MARGIN + columns * WIDTH + (columns - 1) * GAP
    described = escape("; ".join(panel.title for panel in panels))
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {top}" width="{width}" height="{top}" role="img">'
    return "\n".join([head, f"<title>{described}</title>", f"<style>{STYLE}</style>", PAGE, *parts, "</svg>", ""])


def draw_panel(panel: Panel, left: int, top: int) -> list[str]:
    most = max((value for _, value, _, _ in panel.bars if value is not None), default=0.0) or 1.0
    room = WIDTH - NAMES - LABELS
    axis = left + NAMES
    bottom = top + panel.height - ROW + 8
    parts = [
        f'<text class="title" x="{left}" y="{top + 16}">{escape(panel.title)}</text>',
        f'<line x1="{axis}" y1="{top + TITLE - 12}" x2="{axis}" y2="{bottom}"/>',
    ]
    for row, (name, value, label, ours) in enumerate(panel.bars):
        y = top + TITLE + row * ROW
        mark = " ours" if ours else ""
        length = 0.0 if value is None else max(1.0, value / most * room)
        note = " note" if value is None else ""
        parts.append(f'<text class="name{mark}" x="{axis - 8}" y="{y}">{escape(name)}</text>')
        if value is not None:
            parts.append(
                f'<rect class="{mark.strip()}" x="{axis}" y="{y - BAR + 3}" width="{length:.1f}" height="{BAR}"/>'
            )
        parts.append(
            f'<text class="{(mark + note).strip()}" x="{axis + length + 6:.1f}" y="{y}">{escape(label)}</text>'
        )
    return parts
