"""A report as text that lines up in a terminal and pastes into a log."""

from pagelet_bench.core.report import Latency, Report


def table(report: Report) -> str:
    """Lay a report out in lines, without a trailing newline."""
    lines = [_requests(report), _throughput(report), ""]
    lines.append(f"{'milliseconds':<14}" + "".join(f"{name:>10}" for name in _COLUMNS))
    rows = {
        "TTFT": report.ttft,
        "ITL": report.itl,
        "mean ITL": report.mean_itl,
        "e2e": report.e2e,
    }
    lines.extend(_row(name, latency) for name, latency in rows.items())
    lines.extend(_remarks(report))
    return "\n".join(lines)


_COLUMNS = ("mean", "p50", "p90", "p95", "p99", "max")


def _requests(report: Report) -> str:
    counts = [f"{report.ok} ok"]
    counts += [f"{count} {name.replace('_', ' ')}" for name, count in report.failures.items()]
    if report.unfinished:
        counts.append(f"{report.unfinished} not finished")
    return f"{report.planned} requests: {', '.join(counts)}; {report.duration_s:.2f} s"


def _throughput(report: Report) -> str:
    return (
        f"{report.prompt_tokens} tokens in, {report.output_tokens} out; "
        f"{report.output_tokens_per_s:.1f} out tok/s, {report.total_tokens_per_s:.1f} total tok/s, "
        f"{report.requests_per_s:.2f} requests/s"
    )


def _row(name: str, latency: Latency) -> str:
    values = (
        latency.mean_s,
        latency.p50_s,
        latency.p90_s,
        latency.p95_s,
        latency.p99_s,
        latency.max_s,
    )
    return f"{name:<14}" + "".join(f"{_milliseconds(value):>10}" for value in values)


def _milliseconds(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds * 1000:.1f}"


def _remarks(report: Report) -> list[str]:
    lines = [f"{name.replace('_', ' ')}: {text}" for name, text in report.examples.items()]
    if report.short_outputs:
        lines.append(f"{report.short_outputs} answers were shorter than asked for.")
    if report.max_late_s > 0.1:
        lines.append(
            f"A request left {report.max_late_s:.2f} s after its due time: this machine could not "
            f"keep the rate, so the latencies are too low."
        )
    return ["", *lines] if lines else []
