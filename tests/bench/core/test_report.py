"""Figures mean what their definitions say."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagelet_bench.core.report import percentile, report, summarize
from pagelet_bench.core.result import Outcome, RequestResult

values = st.lists(st.floats(0, 1e6), min_size=1, max_size=60)


def result(**changes):
    fields = {
        "index": 0,
        "outcome": Outcome.OK,
        "detail": "",
        "late_s": 0.0,
        "started_s": 10.0,
        "ended_s": 14.0,
        "token_times_s": (11.0, 12.0, 13.5),
        "prompt_tokens": 20,
        "output_tokens": 3,
        "requested_tokens": 3,
    }
    return RequestResult(**(fields | changes))


@pytest.mark.parametrize(
    ("percent", "value"), [(1, 15), (5, 15), (30, 20), (40, 20), (50, 35), (90, 50), (100, 50)]
)
def test_percentiles_are_nearest_rank(percent, value):
    assert percentile([15, 20, 35, 40, 50], percent) == value


def test_p90_of_ten_values_is_the_ninth():
    assert percentile(list(range(1, 11)), 90) == 9
    assert percentile(list(range(1, 101)), 99) == 99


@given(values, st.integers(1, 100))
def test_a_percentile_is_the_least_value_that_so_many_do_not_exceed(sample, percent):
    ascending = sorted(sample)
    found = percentile(ascending, percent)
    assert found in ascending
    assert sum(value <= found for value in sample) * 100 >= percent * len(sample)
    assert sum(value < found for value in sample) * 100 < percent * len(sample)


@given(values)
def test_a_summary_is_ordered_and_ends_at_the_maximum(sample):
    summary = summarize(sample)
    ranks = [summary.p50_s, summary.p90_s, summary.p95_s, summary.p99_s, summary.max_s]
    assert ranks == sorted(ranks)
    assert summary.max_s == max(sample)
    assert summary.count == len(sample)
    assert summary.mean_s == pytest.approx(math.fsum(sample) / len(sample))


def test_a_summary_of_nothing_has_no_values():
    assert summarize([None]).count == 0
    assert summarize([None]).p99_s is None


def test_one_request_gives_its_times_by_definition():
    figures = report([result()], planned=1)
    assert figures.ttft.p50_s == 1.0
    assert (figures.itl.count, figures.itl.mean_s, figures.itl.max_s) == (2, 1.25, 1.5)
    assert figures.mean_itl.p50_s == 1.25
    assert figures.e2e.p50_s == 4.0
    assert figures.duration_s == 4.0
    assert figures.output_tokens_per_s == 3 / 4
    assert figures.total_tokens_per_s == 23 / 4


def test_mean_itl_counts_tokens_even_when_events_carry_several():
    assert result(output_tokens=6).mean_itl_s == 0.5
    assert result(output_tokens=1, token_times_s=(11.0,)).mean_itl_s is None


def test_gaps_are_pooled_over_requests_and_never_cross_them():
    other = result(token_times_s=(100.0, 100.25))
    assert report([result(), other], planned=2).itl.count == 3


def test_the_duration_runs_from_the_first_start_to_the_last_end():
    late = result(started_s=12.0, ended_s=30.0)
    assert report([late, result()], planned=2).duration_s == 20.0


def test_failures_count_by_kind_and_stay_out_of_latencies_and_tokens():
    stalled = result(outcome=Outcome.TIMED_OUT, detail="first", ended_s=110.0)
    again = result(outcome=Outcome.TIMED_OUT, detail="second")
    cut = result(outcome=Outcome.CUT, detail="broke")
    figures = report([stalled, result(), cut, again], planned=6)
    assert figures.failures == {"cut": 1, "timed_out": 2}
    assert figures.examples == {"timed_out": "first", "cut": "broke"}
    assert (figures.ok, figures.failed, figures.unfinished) == (1, 3, 2)
    assert (figures.ttft.count, figures.e2e.count, figures.output_tokens) == (1, 1, 3)
    assert figures.duration_s == 100.0, "time lost to failures is time of the run"


def test_answers_shorter_than_asked_are_counted():
    assert report([result(requested_tokens=4), result()], planned=2).short_outputs == 1


def test_the_worst_delay_behind_the_due_time_is_shown():
    assert report([result(late_s=0.5), result(late_s=0.25)], planned=2).max_late_s == 0.5


def test_a_run_without_results_reports_zeros():
    figures = report([], planned=3)
    assert (figures.unfinished, figures.duration_s, figures.output_tokens_per_s) == (3, 0.0, 0.0)
