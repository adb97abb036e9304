"""A run as a page: Markdown for a repository, HTML with charts for people.

The HTML is one file that loads nothing: it can be mailed, kept with a release, or served from an
object store under any policy. Whatever came from outside is escaped.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import accumulate

from pagelet_bench.core import table
from pagelet_bench.core.measured import Measured, Ramp, holds, most_share
from pagelet_bench.core.plot import Series, chart, escaped
from pagelet_bench.core.result import Outcome, RequestResult

_STYLE = """\
:root { color-scheme: light dark; font: 15px/1.5 system-ui, sans-serif; }
body { max-width: 1180px; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; margin: 1rem 0; }
th, td { padding: .2rem .8rem; text-align: right; border-bottom: 1px solid #8884; }
th:first-child, td:first-child { text-align: left; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(420px, 1fr)); gap: 1rem; }
svg { width: 100%; font-size: 12px; fill: currentColor; }
svg .title { font-size: 14px; font-weight: 600; }
svg .mid { text-anchor: middle; } svg .end { text-anchor: end; }
svg .axis { stroke: currentColor; } svg .grid { stroke: currentColor; stroke-opacity: .15; }
"""


def markdown(title: str, facts: Mapping[str, str], run: Measured, ramp: Ramp | None) -> str:
    """Write a run as Markdown.

    Args:
        title: Of the page.
        facts: What the figures depend on, by name.
        run: What is shown; of a search, its best trial.
        ramp: The search, if it was one.
    """
    cells = [
        ["milliseconds", *table.COLUMNS],
        *([name, *table.milliseconds(at)] for name, at in table.latencies(run.report).items()),
    ]
    rows = ["| " + " | ".join(row) + " |" for row in cells]
    rows.insert(1, "|---|" + "---:|" * len(table.COLUMNS))
    lines = [f"# {title}", ""]
    lines += [f"- {name}: {_code(value)}" for name, value in facts.items()]
    for sentence in _sentences(run):
        lines += ["", sentence]
    lines += ["", *rows]
    if ramp is not None:
        lines += ["", "```text", table.ramp_table(ramp), "```"]
    return "\n".join(lines) + "\n"


def html(title: str, facts: Mapping[str, str], run: Measured, ramp: Ramp | None) -> str:
    """Write a run as one self-contained HTML page; arguments as for `markdown`."""
    rows = [
        _row("td", [name, *table.milliseconds(at)])
        for name, at in table.latencies(run.report).items()
    ]
    head = _row("th", ["milliseconds", *table.COLUMNS])
    told = [_row("td", [name, value]) for name, value in facts.items()]
    parts = [
        f"<h1>{escaped(title)}</h1>",
        *(f"<p>{escaped(sentence)}</p>" for sentence in _sentences(run)),
        f"<table>{head}{''.join(rows)}</table>",
        *(_ramp(ramp) if ramp is not None else []),
        f'<div class="charts">{"".join(_charts(run))}</div>',
        f"<h2>What it was measured with</h2><table>{''.join(told)}</table>",
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>{escaped(title)}</title><style>{_STYLE}</style></head>\n"
        f"<body>\n{chr(10).join(parts)}\n</body></html>\n"
    )


def _sentences(run: Measured) -> list[str]:
    found = [f"{table.requests(run.report)}.", f"{table.throughput(run.report)}."]
    if run.goodput is not None:
        found.append(f"{table.good(run.goodput)}.")
    lag = run.generator
    found.append(
        f"Load generator: event loop lag p50 {lag.lag_p50_s * 1000:.2f} ms, p99 "
        f"{lag.lag_p99_s * 1000:.2f} ms, at most {lag.lag_max_s * 1000:.1f} ms; "
        f"{lag.cpu_share:.2f} cores; sent at most {run.report.max_late_s * 1000:.1f} ms late."
    )
    return [*found, *table.notes(run.report, run.generator)]


def _charts(run: Measured) -> list[str]:
    ok = [result for result in run.results if result.outcome is Outcome.OK]
    samples = {
        "Time to first token": [r.ttft_s for r in ok if r.ttft_s is not None],
        "Time between tokens": [gap for r in ok for gap in r.gaps_s],
        "Whole answer": [r.e2e_s for r in ok],
    }
    shares = [
        chart(
            title,
            [Series("all", _distribution(values))],
            x="milliseconds",
            y="% of sample at most",
            log_x=True,
            y_to=100.0,
        )
        for title, values in samples.items()
    ]
    return [*shares, *_over_time(run.results)]


def _distribution(values: Sequence[float]) -> list[tuple[float, float]]:
    ascending = sorted(values)
    return [(v * 1000, 100.0 * (n + 1) / len(ascending)) for n, v in enumerate(ascending)]


def _over_time(results: Sequence[RequestResult]) -> list[str]:
    begin = min((result.due_s for result in results), default=0.0)
    ordered = sorted(results, key=lambda result: result.due_s)
    first = [(r.due_s - begin, r.ttft_s * 1000) for r in ordered if r.ttft_s is not None]
    failed = [(r.due_s - begin, 0.0) for r in ordered if r.outcome is not Outcome.OK]
    steps = Counter[float]()
    for result in results:
        steps[result.started_s - begin] += 1
        steps[result.ended_s - begin] -= 1
    times = sorted(steps)
    flight = list(zip(times, map(float, accumulate(steps[at] for at in times)), strict=True))
    return [
        chart(
            "Time to first token over the run",
            [Series("ok", first, "dots"), Series("failed", failed, "dots", "#c0392b")],
            x="due at, seconds",
            y="milliseconds",
        ),
        chart(
            "Requests in flight",
            [Series("in flight", flight, "step")],
            x="seconds",
            y="requests",
        ),
    ]


def _ramp(ramp: Ramp) -> list[str]:
    trials = sorted(ramp.trials, key=lambda trial: trial.profile.rate_per_s or 0.0)
    shares = {True: list[tuple[float, float]](), False: list[tuple[float, float]]()}
    first = []
    for trial in trials:
        rate = trial.profile.rate_per_s or 0.0
        shares[holds(trial)].append((rate, 100.0 * most_share(trial)))
        if trial.report.ttft.p99_s is not None:
            first.append((rate, trial.report.ttft.p99_s * 1000))
    drawn = [
        Series("kept", shares[True], "dots", "#2e8b57"),
        Series("missed", shares[False], "dots", "#c0392b"),
    ]
    charts = [
        chart("Good requests by rate", drawn, x="requests/s", y="%", log_x=True, y_to=100.0),
        chart("p99 TTFT by rate", [Series("p99", first, "dots")], x="requests/s",
              y="milliseconds", log_x=True),
    ]  # fmt: skip
    said = escaped(table.ramp_table(ramp))
    return [f"<h2>Search</h2><pre>{said}</pre>", f'<div class="charts">{"".join(charts)}</div>']


def _row(cell: str, values: Sequence[str]) -> str:
    return "<tr>" + "".join(f"<{cell}>{escaped(value)}</{cell}>" for value in values) + "</tr>"


def _code(value: str) -> str:
    """Write a value as code, so that nothing in it is markup."""
    return "`" + value.replace("`", "'").replace("\n", " ") + "`"
