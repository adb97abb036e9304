"""A run as text that lines up in a terminal and pastes into a log."""

from pagelet_bench.core.generator import Generator, remarks
from pagelet_bench.core.goodput import Goodput
from pagelet_bench.core.measured import Ramp, holds, most_share
from pagelet_bench.core.report import Latency, Report

COLUMNS = ("mean", "p50", "p90", "p95", "p99", "max")


def table(
    report: Report, goodput: Goodput | None = None, generator: Generator | None = None
) -> str:
    """Lay a run out in lines, without a trailing newline."""
    lines = [requests(report), throughput(report), ""]
    lines.append(f"{'milliseconds':<14}" + "".join(f"{name:>10}" for name in COLUMNS))
    lines.extend(
        f"{name:<14}" + "".join(f"{value:>10}" for value in milliseconds(latency))
        for name, latency in latencies(report).items()
    )
    if goodput is not None:
        lines += ["", good(goodput)]
    said = notes(report, generator)
    return "\n".join([*lines, *(["", *said] if said else [])])


def ramp_table(ramp: Ramp) -> str:
    """Lay the trials of a search out, and its answer."""
    rows = [f"{'requests/s':>10}{'in SLO':>9}{'':>4}{'p99 TTFT ms':>13}{'p99 ITL ms':>12}"]
    for trial in ramp.trials:
        share = f"{'<=' if trial.report.unfinished else ''}{100.0 * most_share(trial):.1f}%"
        verdict = "ok" if holds(trial) else "no"
        ttft, itl = (_number(latency.p99_s) for latency in (trial.report.ttft, trial.report.itl))
        rate = trial.profile.rate_per_s or 0.0
        rows.append(f"{rate:>10.3g}{share:>9}{verdict:>4}{ttft:>13}{itl:>12}")
    end = "interrupted before an answer" if ramp.found is None else ramp.found.sentence
    # A request that can never succeed breaks every rate; the reader has to see why.
    failed = {name: text for trial in ramp.trials for name, text in trial.report.examples.items()}
    said = [f"{name.replace('_', ' ')} in a trial: {text}" for name, text in failed.items()]
    return "\n".join([*rows, f"{end[0].upper()}{end[1:]}.", *said])


def latencies(report: Report) -> dict[str, Latency]:
    """Return the rows of a report's table by their names."""
    return {
        "TTFT": report.ttft,
        "ITL": report.itl,
        "mean ITL": report.mean_itl,
        "e2e": report.e2e,
    }


def requests(report: Report) -> str:
    """Say how the requests ended."""
    counts = [f"{report.ok} ok"]
    counts += [f"{count} {name.replace('_', ' ')}" for name, count in report.failures.items()]
    if report.unfinished:
        counts.append(f"{report.unfinished} not finished")
    return f"{report.planned} requests: {', '.join(counts)}; {report.duration_s:.2f} s"


def throughput(report: Report) -> str:
    """Say how much came through."""
    return (
        f"{report.prompt_tokens} tokens in, {report.output_tokens} out; "
        f"{report.output_tokens_per_s:.1f} out tok/s, {report.total_tokens_per_s:.1f} total tok/s, "
        f"{report.requests_per_s:.2f} requests/s"
    )


def good(goodput: Goodput) -> str:
    """Say how much of it was good."""
    limits = {
        "TTFT": goodput.slo.ttft_s,
        "p95 ITL": goodput.slo.itl_s,
        "e2e": goodput.slo.e2e_s,
    }
    asked = ", ".join(f"{name} {s * 1000:g} ms" for name, s in limits.items() if s is not None)
    missed = "".join(f", {count} missed {name}" for name, count in goodput.missed.items())
    verdict = "kept" if goodput.is_met else "missed"
    return (
        f"SLO ({asked}; {goodput.slo.share:.4g} of requests) {verdict}: {100 * goodput.share:.1f} "
        f"% good{missed.replace('missed failed', 'failed')}; goodput {goodput.per_s:.2f} "
        f"requests/s, {goodput.output_tokens_per_s:.1f} out tok/s"
    )


def milliseconds(latency: Latency) -> list[str]:
    """Return the cells of one row, by `COLUMNS`; a dash for what was not measured."""
    values = (
        latency.mean_s,
        latency.p50_s,
        latency.p90_s,
        latency.p95_s,
        latency.p99_s,
        latency.max_s,
    )
    return [_number(value) for value in values]


def notes(report: Report, generator: Generator | None) -> list[str]:
    """Say what spoils the figures, one sentence each."""
    lines = [f"{name.replace('_', ' ')}: {text}" for name, text in report.examples.items()]
    if report.short_outputs:
        lines.append(f"{report.short_outputs} answers were shorter than asked for.")
    return [*lines, *remarks(generator, report.max_late_s)]


def _number(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds * 1000:.1f}"
