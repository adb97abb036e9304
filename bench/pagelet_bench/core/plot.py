"""Charts as SVG text, small enough to lie inside a page; no library, no script, no asset.

A chart takes its colours from the page's text colour where it can, so it reads on light and dark.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 560, 300
LEFT, RIGHT, TOP, BOTTOM = 62, 14, 30, 44
MOST_POINTS = 400
"""Of one series; more would not be seen and make the page large."""

SMALLEST = 1e-9
"""Lowest value of a logarithmic axis; a nanosecond is nobody's latency."""

COLOURS = ("#2a78d6", "#d9622b", "#2e8b57", "#8a5bc7")


@dataclass(frozen=True, slots=True)
class Series:
    """Points of one kind, by ascending x; drawn as a line, as steps or as dots."""

    name: str
    points: Sequence[tuple[float, float]]
    kind: str = "line"
    colour: str | None = None


@dataclass(frozen=True, slots=True)
class Scale:
    """Maps values to pixels; on a logarithmic scale values are above 0."""

    low: float
    high: float
    begin: float
    end: float
    is_log: bool = False

    def at(self, value: float) -> float:
        """Return the pixel of a value; what lies outside is drawn at the edge."""
        value = min(max(value, self.low), self.high)
        low, high = self.low, self.high
        if self.is_log:
            low, high, value = math.log(low), math.log(high), math.log(value)
        return self.begin + (value - low) / (high - low) * (self.end - self.begin)


def chart(
    title: str,
    series: Sequence[Series],
    *,
    x: str,
    y: str,
    log_x: bool = False,
    y_from: float | None = 0.0,
    y_to: float | None = None,
) -> str:
    """Draw a chart.

    Args:
        title: Above it.
        series: What is drawn; those without points are left out.
        x: Label of the horizontal axis, with its unit.
        y: Label of the vertical one.
        log_x: Whether the horizontal axis is logarithmic; values at or below 0 are left out.
        y_from: Lowest value shown; None for the lowest of the data.
        y_to: Highest value shown; None for the highest of the data.

    Returns:
        One `<svg>` element; with nothing to draw it says so.
    """
    drawn = [s for s in (_thinned(each, log_x) for each in series) if s.points]
    body = [f'<text x="{LEFT}" y="18" class="title">{escaped(title)}</text>']
    if not drawn:
        body.append(f'<text x="{WIDTH / 2}" y="{HEIGHT / 2}" class="mid">no values</text>')
        return _svg(title, body)
    xs = [point[0] for each in drawn for point in each.points]
    ys = [point[1] for each in drawn for point in each.points]
    across = _scale(min(xs), max(xs), LEFT, WIDTH - RIGHT, log_x)
    low = min(ys) if y_from is None else y_from
    up = _scale(low, max(ys) if y_to is None else y_to, HEIGHT - BOTTOM, TOP, False)
    body += _x_axis(across, x) + _y_axis(up, y)
    for number, each in enumerate(drawn):
        colour = each.colour or COLOURS[number % len(COLOURS)]
        body += _marks(each, across, up, colour)
        if len(drawn) > 1:
            place = WIDTH - RIGHT - 130 * (len(drawn) - number)
            body.append(f'<rect x="{place}" y="10" width="10" height="10" fill="{colour}"/>')
            body.append(f'<text x="{place + 14}" y="19">{escaped(each.name)}</text>')
    return _svg(title, body)


def ticks(low: float, high: float) -> list[float]:
    """Return round values within a range, about five of them."""
    step = 10.0 ** math.floor(math.log10((high - low) / 4.0))
    step = next(step * factor for factor in (1, 2, 5, 10) if (high - low) / (step * factor) <= 6)
    first = math.ceil(low / step - 1e-9)
    return [step * n for n in range(first, math.floor(high / step + 1e-9) + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """Return round values within a range of positive numbers, spread by their logarithm."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    factors = (1, 2, 5) if high / low < 1000 else (1,)
    found = [f * 10.0**d for d in decades for f in factors]
    inside = [value for value in found if low * 0.999 <= value <= high * 1.001]
    return inside if len(inside) > 2 else ticks(low, high)


def escaped(text: str) -> str:
    """Return text that means itself in HTML and SVG."""
    for plain, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ('"', "&quot;")):
        text = text.replace(plain, entity)
    return text


def _thinned(series: Series, log_x: bool) -> Series:
    points = [p for p in series.points if p[0] > 0 or not log_x]
    step = -(-len(points) // MOST_POINTS) or 1
    kept = points[::step]
    if points and kept[-1] != points[-1]:
        kept.append(points[-1])
    return Series(series.name, kept, series.kind, series.colour)


def _scale(low: float, high: float, begin: float, end: float, is_log: bool) -> Scale:
    """Span the data; one value alone stands in the middle of something."""
    if is_log:
        low = max(low, SMALLEST)
        low, high = (low, high) if high > low * (1 + 1e-6) else (low / 2, low * 2)
    elif high - low <= 1e-9 * max(1.0, abs(low), abs(high)):
        size = max(abs(low), abs(high))
        margin = size if size > SMALLEST else 1.0
        low, high = low - margin, high + margin
    return Scale(low, high, begin, end, is_log)


def _x_axis(scale: Scale, label: str) -> list[str]:
    bottom = HEIGHT - BOTTOM
    lines = [f'<path class="axis" d="M{LEFT} {bottom}H{WIDTH - RIGHT}"/>']
    for value in (log_ticks if scale.is_log else ticks)(scale.low, scale.high):
        place = scale.at(value)
        lines.append(f'<path class="grid" d="M{place:.1f} {TOP}V{bottom}"/>')
        lines.append(f'<text x="{place:.1f}" y="{bottom + 16}" class="mid">{value:.4g}</text>')
    middle = (LEFT + WIDTH - RIGHT) / 2
    return [*lines, f'<text x="{middle}" y="{HEIGHT - 8}" class="mid">{escaped(label)}</text>']


def _y_axis(scale: Scale, label: str) -> list[str]:
    lines = [f'<path class="axis" d="M{LEFT} {TOP}V{HEIGHT - BOTTOM}"/>']
    for value in ticks(scale.low, scale.high):
        place = scale.at(value)
        lines.append(f'<path class="grid" d="M{LEFT} {place:.1f}H{WIDTH - RIGHT}"/>')
        lines.append(f'<text x="{LEFT - 6}" y="{place + 4:.1f}" class="end">{value:.4g}</text>')
    middle = (TOP + HEIGHT - BOTTOM) / 2
    turned = f'transform="rotate(-90 14 {middle})"'
    return [*lines, f'<text x="14" y="{middle}" class="mid" {turned}>{escaped(label)}</text>']


def _marks(series: Series, across: Scale, up: Scale, colour: str) -> list[str]:
    places = [(across.at(a), up.at(b)) for a, b in series.points]
    if series.kind == "dots":
        return [
            f'<circle cx="{a:.1f}" cy="{b:.1f}" r="2.2" fill="{colour}" fill-opacity="0.7"/>'
            for a, b in places
        ]
    path = [f"M{places[0][0]:.1f} {places[0][1]:.1f}"]
    for a, b in places[1:]:
        path.append(f"H{a:.1f}V{b:.1f}" if series.kind == "step" else f"L{a:.1f} {b:.1f}")
    drawn = f'<path d="{"".join(path)}" fill="none" stroke="{colour}" stroke-width="1.8"/>'
    alone = f'<circle cx="{places[0][0]:.1f}" cy="{places[0][1]:.1f}" r="3" fill="{colour}"/>'
    return [drawn] if len(places) > 1 else [alone]


def _svg(title: str, body: Sequence[str]) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{escaped(title)}">{"".join(body)}</svg>'
    )
