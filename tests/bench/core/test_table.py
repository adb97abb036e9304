"""A report is read at a glance, and says what spoils it."""

import dataclasses

from pagelet_bench.core.report import report, summarize
from pagelet_bench.core.table import table

EMPTY = report([], planned=3)
FULL = dataclasses.replace(
    EMPTY,
    ok=2,
    failures={"timed_out": 1},
    examples={"timed_out": "not finished after 1 s."},
    duration_s=2.0,
    prompt_tokens=10,
    output_tokens=6,
    output_tokens_per_s=3.0,
    total_tokens_per_s=8.0,
    requests_per_s=1.0,
    ttft=summarize([0.1, 0.2]),
)


def test_a_table_gives_counts_throughput_and_milliseconds():
    lines = table(FULL).splitlines()
    assert lines[0] == "3 requests: 2 ok, 1 timed out; 2.00 s"
    assert lines[1] == "10 tokens in, 6 out; 3.0 out tok/s, 8.0 total tok/s, 1.00 requests/s"
    assert lines[3].split() == ["milliseconds", "mean", "p50", "p90", "p95", "p99", "max"]
    assert lines[4].split() == ["TTFT", "150.0", "100.0", "200.0", "200.0", "200.0", "200.0"]
    assert lines[-1] == "timed out: not finished after 1 s."


def test_rows_line_up():
    rows = table(FULL).splitlines()[3:8]
    assert len({len(row) for row in rows}) == 1


def test_what_was_not_measured_is_a_dash_and_not_a_zero():
    assert table(EMPTY).splitlines()[4].split()[1:] == ["-"] * 6
    assert "3 not finished" in table(EMPTY)


def test_short_answers_and_a_late_generator_are_remarked():
    assert "2 answers were shorter" in table(dataclasses.replace(FULL, short_outputs=2))
    assert "could not keep the rate" in table(dataclasses.replace(FULL, max_late_s=0.5))
    assert "could not keep the rate" not in table(dataclasses.replace(FULL, max_late_s=0.01))
