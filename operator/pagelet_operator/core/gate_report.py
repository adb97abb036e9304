"""A load test's result as a report: JSON for programs, an HTML page with charts for people. Pure.

The page loads nothing, and all of it is made here from numbers and escaped text, so that it may
be opened wherever it is kept. Its size is bounded by its parts: some twenty kilobytes.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pagelet_operator.core.gates import GateResult
from pagelet_operator.core.lengths import BOUNDS

SCHEMA_VERSION = 1
MAX_BYTES = 900 * 1024
"""Of JSON and page together: a ConfigMap holds a mebibyte, with its metadata."""

CURVE_PERCENTS = (0, 5, 10, 25, 50, 75, 90, 95, 99, 100)
"""Where the curves of `pagelet gate` have their points."""

WIDTH, HEIGHT, LEFT, TOP, BOTTOM = 520, 240, 64, 28, 34

_LATENCIES = {
    "ttft": "Time to first token",
    "itl": "Time between tokens",
}
_STYLE = (
    ":root{color-scheme:light dark;font:15px/1.5 system-ui,sans-serif}"
    "body{max-width:1100px;margin:2rem auto;padding:0 1rem}"
    "table{border-collapse:collapse}th,td{padding:.2rem .8rem;text-align:right;"
    "border-bottom:1px solid #8884}th:first-child,td:first-child{text-align:left}"
    "svg{width:520px;max-width:100%;font-size:12px;fill:currentColor}"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What is kept of one load test; the next one of the same revision takes its place."""

    revision: str
    summary: str
    """JSON."""
    page: str
    """HTML."""

    @property
    def name(self) -> str:
        """What it is kept as."""
        return f"{self.revision}-loadtest"


def report(
    revision: str,
    result: GateResult,
    measured: GateResult,
    *,
    stable: str | None = None,
    stable_figures: Mapping[str, float] | None = None,
) -> Report:
    """Write the report of a load test.

    Args:
        revision: What was tested.
        result: With its verdict.
        measured: As the program left it, with the curves.
        stable: The revision that serves, if it is another one.
        stable_figures: What the same load measured of it, where that is known.
    """
    told = {
        "schema": SCHEMA_VERSION,
        "revision": revision,
        "verdict": result.status.value,
        "message": result.message,
        "startedAt": result.started_at,
        "finishedAt": result.finished_at,
        "figures": dict(result.figures),
        "stable": stable if stable_figures else None,
        "stableFigures": dict(stable_figures or {}),
        "curvePercents": list(CURVE_PERCENTS),
        "curves": {name: list(values) for name, values in measured.curves.items()},
        "lengthBounds": list(BOUNDS),
        "lengths": {
            "prompt": list(measured.lengths.prompt),
            "output": list(measured.lengths.output),
        },
    }
    found = Report(
        revision=revision,
        summary=json.dumps(told, indent=1) + "\n",
        page=_page(revision, result, measured, stable, stable_figures or {}),
    )
    size = len(found.summary.encode()) + len(found.page.encode())
    assert size <= MAX_BYTES, "the parts of a report are bounded"
    return found


def _page(
    revision: str,
    result: GateResult,
    measured: GateResult,
    stable: str | None,
    figures: Mapping[str, float],
) -> str:
    charts = [
        _curve(title, measured.curves.get(name, ()), name, figures)
        for name, title in _LATENCIES.items()
    ]
    charts += [
        _bars("Prompt lengths", measured.lengths.prompt),
        _bars("Output lengths", measured.lengths.output),
    ]
    compared = f" beside {stable}, which serves" if stable and figures else ""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f"<title>Load test of {_text(revision)}</title><style>{_STYLE}</style></head><body>\n"
        f"<h1>Load test of {_text(revision)}: {result.status.value}</h1>\n"
        f"<p>{_text(result.message)}</p>\n<p>The replica was loaded alone{_text(compared)}.</p>\n"
        f"{_table(result.figures, figures)}\n{''.join(charts)}\n</body></html>\n"
    )


def _table(figures: Mapping[str, float], stable: Mapping[str, float]) -> str:
    """Lay the figures out beside the stable revision's stored ones."""
    rows = ["<tr><th>figure</th><th>this revision</th><th>stable</th><th>change</th></tr>"]
    for name, value in sorted(figures.items()):
        before = stable.get(name)
        change = f"{100 * (value / before - 1):+.1f} %" if before else "-"
        cells = [_text(name), f"{value:.4g}", "-" if before is None else f"{before:.4g}", change]
        rows.append("<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    return f"<table>{''.join(rows)}</table>"


def _curve(
    title: str, values: Sequence[float], name: str, stable: Mapping[str, float]
) -> str:  # fmt: skip
    """Draw latencies by percentile, with dots where stable's are stored."""
    points = list(zip(CURVE_PERCENTS, values, strict=False))
    dots = [
        (percent, stable[f"{name}P{percent}"])
        for percent in (50, 95, 99)
        if f"{name}P{percent}" in stable
    ]
    top = max((value for _, value in (*points, *dots)), default=0.0)
    if not points or top <= 0:
        return _svg(title, [_label(LEFT, HEIGHT / 2, "not measured")])
    places = [(_x(percent / 100), _y(value / top)) for percent, value in points]
    path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in places)
    body = [f'<path d="{path}" fill="none" stroke="#2a78d6" stroke-width="2"/>']
    body += [
        f'<circle cx="{_x(percent / 100):.1f}" cy="{_y(value / top):.1f}" r="4" fill="#d9622b"/>'
        for percent, value in dots
    ]
    body += [_label(_x(part), HEIGHT - 14, f"p{100 * part:g}") for part in (0, 0.5, 0.9, 1)]
    body += [_label(4, _y(part) + 4, f"{1000 * top * part:.3g} ms") for part in (0, 0.5, 1)]
    body += [_label(LEFT + 200, 16, "dots: stable")] if dots else []
    return _svg(title, body)


def _bars(title: str, counts: Sequence[int]) -> str:
    """Draw how many requests had which length."""
    if not counts or not max(counts):
        return _svg(title, [_label(LEFT, HEIGHT / 2, "not counted")])
    width = (WIDTH - LEFT) / len(counts)
    body = [
        f'<rect x="{LEFT + n * width:.1f}" y="{_y(count / max(counts)):.1f}" '
        f'width="{width * 0.8:.1f}" height="{_y(0) - _y(count / max(counts)):.1f}" fill="#2a78d6"/>'
        for n, count in enumerate(counts)
    ]
    body += [
        _label(LEFT + n * width, HEIGHT - 14, f"{bound}")
        for n, bound in enumerate(BOUNDS)
        if n % 3 == 0
    ]
    body += [_label(4, _y(1) + 4, f"{max(counts)}"), _label(LEFT + 200, 16, "tokens, up to")]
    return _svg(title, body)


def _x(share: float) -> float:
    return LEFT + share * (WIDTH - LEFT - 30)


def _y(share: float) -> float:
    return HEIGHT - BOTTOM - share * (HEIGHT - BOTTOM - TOP)


def _label(x: float, y: float, text: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}">{_text(text)}</text>'


def _svg(title: str, body: Sequence[str]) -> str:
    head = f'<text x="{LEFT}" y="16" font-weight="600">{_text(title)}</text>'
    axis = f'<path d="M{LEFT} {TOP}V{HEIGHT - BOTTOM}H{WIDTH}" fill="none" stroke="currentColor"/>'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{_text(title)}">{head}{axis}{"".join(body)}</svg>'
    )


def _text(text: str) -> str:
    """Return text that means itself in HTML."""
    for plain, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ('"', "&quot;")):
        text = text.replace(plain, entity)
    return text
