"""Verdicts: what evidence says, and what it cannot say."""

from bisect import bisect_left
from dataclasses import replace
from math import exp, log

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pagelet_operator.core.analysis import (
    FAIL_RISK,
    AnalysisPolicy,
    Judgement,
    Rule,
    Verdict,
    fail_risk,
    judge,
    unmeasured,
)
from pagelet_operator.core.measure import Metric
from pagelet_operator.core.window import Histogram, Profile, Window

BOUNDS = tuple(0.001 * 1.3**i for i in range(40))


def a_histogram(median_s: float, count: int, spread: float = 0.5) -> Histogram:
    """`count` observations, evenly over the middle of a lognormal's logarithm."""
    counts = [0] * (len(BOUNDS) + 1)
    for index in range(count):
        value = exp(log(median_s) + spread * (2 * (index + 0.5) / count - 1))
        counts[bisect_left(BOUNDS, value)] += 1
    return Histogram(BOUNDS, tuple(counts))


def a_window(requests: int = 1000, *, ttft: float = 0.1, itl: float = 0.02, **more: int) -> Window:
    fields = {
        "ttft": a_histogram(ttft, min(requests, 1000)),
        "itl": a_histogram(itl, min(requests, 1000) * 5),
        "request_seconds": float(requests),
        "output_tokens": 100 * requests,
        "queue_samples": 20,
        "queue_sum": 20.0,
    }
    return Window(since=0.0, until=60.0, requests=requests, **{**fields, **more})  # type: ignore[arg-type]


def of(metric: Metric, limit: float | None = None, change: float | None = None) -> AnalysisPolicy:
    return AnalysisPolicy(metrics=(Rule(metric=metric, limit=limit, change_percent=change),))


def scaled(window: Window, times: int) -> Window:
    def grown(histogram: Histogram) -> Histogram:
        return Histogram(histogram.bounds, tuple(times * count for count in histogram.counts))

    names = ("requests", "errors", "refusals", "timeouts", "fallbacks", "abandoned")
    counts = {name: times * getattr(window, name) for name in names}
    counts["output_tokens"] = times * (window.output_tokens or 0)
    counts["request_seconds"] = times * window.request_seconds
    return replace(window, ttft=grown(window.ttft), itl=grown(window.itl), **counts)


DEFAULT = AnalysisPolicy()


def test_alike_passes():
    found = judge(DEFAULT, a_window(), a_window())
    assert found.verdict is Verdict.PASS
    assert (found.since, found.until, found.requests) == (0.0, 60.0, 1000)


@pytest.mark.parametrize(
    ("harm", "metric"),
    [
        ({"itl": 0.05}, Metric.ITL_P50),
        ({"ttft": 0.3}, Metric.TTFT_P50),
        ({"errors": 100}, Metric.ERROR_RATE),
        ({"timeouts": 100}, Metric.TIMEOUT_RATE),
        ({"abandoned": 600}, Metric.ABANDON_RATE),
    ],
)
def test_a_clear_harm_fails_and_is_named(harm, metric):
    found = judge(DEFAULT, a_window(**harm), a_window())
    assert found.verdict is Verdict.FAIL
    assert metric in found.message
    failed = {item.metric for item in found.metrics if item.verdict is Verdict.FAIL}
    assert metric in failed


@pytest.mark.parametrize("metric", Metric)
def test_every_metric_passes_what_is_alike_and_fails_what_is_much_worse(metric):
    good = scaled(a_window(), 5)
    worse = a_window(
        ttft=1.0, itl=0.2, errors=300, refusals=300, timeouts=300, fallbacks=600, abandoned=900,
        request_seconds=9000, queue_sum=400.0,
    )  # fmt: skip
    assert judge(of(metric, change=30), good, good).verdict is Verdict.PASS
    assert judge(of(metric, change=20), worse, good).verdict is Verdict.FAIL
    assert judge(of(metric, change=20), good, scaled(worse, 5)).verdict is Verdict.PASS


@pytest.mark.parametrize(
    ("metric", "good", "bad"),
    [
        (Metric.TTFT_P95, 0.5, 0.05),
        (Metric.ITL_P99, 0.5, 0.01),
        (Metric.ERROR_RATE, 5.0, 1.0),
        (Metric.QUEUE_DEPTH, 2.0, 0.5),
        (Metric.TOKENS_PER_SECOND, 50.0, 200.0),
    ],
)
def test_an_absolute_limit_needs_no_stable(metric, good, bad):
    canary = a_window(errors=30)
    assert judge(of(metric, limit=good), canary, None).verdict is Verdict.PASS
    assert judge(of(metric, limit=bad), canary, None).verdict is Verdict.FAIL


def test_each_of_two_limits_must_hold():
    policy = of(Metric.ITL_P95, limit=0.001, change=100)
    assert judge(policy, a_window(), a_window()).verdict is Verdict.FAIL
    policy = of(Metric.ITL_P95, limit=1.0, change=10)
    assert judge(policy, a_window(itl=0.1), a_window()).verdict is Verdict.FAIL
    assert judge(policy, a_window(), None).verdict is Verdict.INCONCLUSIVE


def test_a_canary_that_keeps_everybody_waiting_until_they_leave_fails():
    """Nothing of it ends, so nothing else was measured."""
    hangs = Window(since=0.0, until=60.0, abandoned=60)
    assert judge(DEFAULT, hangs, a_window(abandoned=5)).verdict is Verdict.FAIL


def test_clients_that_leave_both_alike_blame_nobody():
    leave = a_window(abandoned=300)
    assert judge(DEFAULT, leave, leave).verdict is Verdict.PASS


@pytest.mark.parametrize("canary", [None, a_window(0), a_window(19)])
def test_without_enough_requests_nothing_is_said(canary):
    worse = None if canary is None else replace(canary, errors=canary.requests)
    assert judge(DEFAULT, worse, a_window()).verdict is Verdict.INCONCLUSIVE


def test_without_a_stable_to_compare_with_nothing_passes_or_fails():
    for baseline in (None, a_window(0), Profile()):
        found = judge(DEFAULT, a_window(itl=9.0, errors=500), baseline)
        assert found.verdict is Verdict.INCONCLUSIVE


def test_a_few_requests_are_inconclusive_where_many_decide():
    few, many = a_window(30, itl=0.025), a_window(1000, itl=0.06)
    policy = of(Metric.TTFT_P99, change=20)
    assert judge(policy, few, a_window()).verdict is Verdict.INCONCLUSIVE
    assert judge(of(Metric.ITL_P50, change=20), many, a_window()).verdict is Verdict.FAIL


def test_a_tail_that_is_not_required_can_fail_but_not_hold_up():
    median = Rule(metric=Metric.ITL_P50, change_percent=50.0)
    tail = Rule(metric=Metric.TTFT_P99, change_percent=50.0)
    few, many = a_window(100), scaled(a_window(), 5)
    held_up = AnalysisPolicy(metrics=(median, tail))
    assert judge(held_up, few, many).verdict is Verdict.INCONCLUSIVE
    not_held_up = AnalysisPolicy(metrics=(median, replace(tail, required=False)))
    assert judge(not_held_up, few, many).verdict is Verdict.PASS
    assert judge(not_held_up, a_window(1000, ttft=2.0), many).verdict is Verdict.FAIL


def test_latencies_are_compared_with_the_calm_time_and_rates_with_now() -> None:
    """A canary that idles and is as fast as a busy stable is slow."""
    slow, fast = a_window(itl=0.05), a_window(itl=0.02)
    assert judge(DEFAULT, slow, slow).verdict is Verdict.PASS
    found = judge(DEFAULT, slow, slow, fast)
    assert found.verdict is Verdict.FAIL
    assert "at its calmest" in found.message
    alone = judge(of(Metric.ITL_P50, limit=0.01), slow, slow, fast)
    assert "at its calmest" not in alone.message, "a figure by itself compares with nobody"
    failing = a_window(errors=200)
    assert "errorRate" in judge(DEFAULT, failing, fast, failing).message


def test_a_fixed_baseline_is_the_profile():
    profile = Profile({Metric.ITL_P95: 0.02, Metric.ERROR_RATE: 0.5})
    policy = of(Metric.ITL_P95, change=20)
    assert judge(policy, a_window(itl=0.1), profile).verdict is Verdict.FAIL
    assert judge(policy, a_window(itl=0.005), profile).verdict is Verdict.PASS
    assert judge(of(Metric.TTFT_P95, change=20), a_window(), profile).verdict is (
        Verdict.INCONCLUSIVE
    )


def test_one_error_among_few_requests_withdraws_nobody():
    policy = of(Metric.ERROR_RATE, change=0)
    assert judge(policy, a_window(30, errors=1), a_window()).verdict is Verdict.INCONCLUSIVE


def test_an_error_is_the_sources_and_never_a_look():
    assert unmeasured("gateway: HTTP 500") == Judgement(
        verdict=Verdict.ERROR, message="gateway: HTTP 500"
    )


def test_the_risks_of_all_doublings_and_metrics_sum_to_the_whole():
    spans = [DEFAULT.interval_s * 2**doubling for doubling in range(1000)]
    total = sum(fail_risk(DEFAULT, span) for span in spans) * len(DEFAULT.metrics)
    assert 0.99 * FAIL_RISK < total <= FAIL_RISK
    assert fail_risk(DEFAULT, 0.0) == fail_risk(DEFAULT, DEFAULT.interval_s)


def test_a_latency_must_stay_worse_for_longer_than_a_moment():
    policy = of(Metric.ITL_P50, change=20)
    worse = a_window(itl=0.028)
    assert judge(policy, worse, a_window()).verdict is Verdict.INCONCLUSIVE
    later = replace(worse, until=1200.0)
    assert judge(policy, later, a_window()).verdict is Verdict.FAIL


def test_a_rate_passes_up_to_a_margin_that_few_requests_can_show():
    policy = of(Metric.ERROR_RATE, change=1)
    assert judge(policy, a_window(80), a_window()).verdict is Verdict.PASS
    assert judge(policy, a_window(70), a_window()).verdict is Verdict.INCONCLUSIVE


windows = st.builds(
    lambda requests, ttft, itl, errors, timeouts, late: a_window(
        requests, ttft=ttft, itl=itl, errors=min(errors, requests), timeouts=min(timeouts, requests)
    ),
    st.integers(0, 120),
    st.floats(0.01, 2.0),
    st.floats(0.005, 0.5),
    st.integers(0, 60),
    st.integers(0, 60),
    st.booleans(),
)


@settings(max_examples=60, deadline=None)
@given(windows, windows)
def test_only_one_of_two_can_be_the_worse_one_by_a_metric(first, second):
    there = {m.metric for m in judge(DEFAULT, first, second).metrics if m.verdict is Verdict.FAIL}
    back = {m.metric for m in judge(DEFAULT, second, first).metrics if m.verdict is Verdict.FAIL}
    assert not there & back


@settings(max_examples=60, deadline=None)
@given(windows)
def test_nobody_is_worse_than_itself(window):
    assert judge(DEFAULT, window, window).verdict is not Verdict.FAIL


@settings(max_examples=60, deadline=None)
@given(windows, windows, st.integers(2, 20))
def test_more_of_the_same_evidence_takes_no_fail_back(canary, stable, times):
    before = judge(DEFAULT, canary, stable)
    after = judge(DEFAULT, scaled(canary, times), scaled(stable, times))
    if before.verdict is Verdict.FAIL:
        assert after.verdict is Verdict.FAIL


@settings(max_examples=60, deadline=None)
@given(windows, windows, st.integers(0, 40))
def test_more_errors_never_help(canary, stable, more):
    worse = replace(canary, errors=min(canary.requests, canary.errors + more))
    order = (Verdict.PASS, Verdict.INCONCLUSIVE, Verdict.FAIL)
    before, after = (judge(DEFAULT, window, stable).verdict for window in (canary, worse))
    assert order.index(after) >= order.index(before)


def hanging(arrivals: int, for_s: float) -> Histogram:
    """So many that came evenly over a time and still wait."""
    counts = [0] * (len(BOUNDS) + 1)
    for index in range(arrivals):
        counts[bisect_left(BOUNDS, for_s * (index + 0.5) / arrivals)] += 1
    return Histogram(BOUNDS, tuple(counts))


def test_a_canary_that_hangs_fails_before_any_request_ends():
    canary = replace(a_window(0), until=30.0, waiting=hanging(60, 30.0))
    found = judge(DEFAULT, canary, a_window(600))
    assert found.verdict is Verdict.FAIL
    assert "ttftP50" in found.message
    assert "60 still wait for their first token" in found.message


def test_those_that_have_just_begun_are_no_hang_and_make_no_pass():
    canary = replace(a_window(15), until=30.0, waiting=hanging(40, 0.05))
    found = judge(DEFAULT, canary, a_window(600))
    assert (found.verdict, found.message) == (Verdict.INCONCLUSIVE, "15 of 20 requests seen")


def test_a_hang_of_both_withdraws_nobody():
    both = replace(a_window(0), waiting=hanging(60, 30.0))
    assert judge(DEFAULT, both, both).verdict is Verdict.INCONCLUSIVE


@settings(max_examples=60, deadline=None)
@given(windows, windows, st.integers(0, 80), st.floats(0.01, 60.0))
def test_who_still_waits_never_makes_a_canary_look_better(canary, stable, arrivals, for_s):
    waits = replace(canary, waiting=hanging(arrivals, for_s))
    order = (Verdict.PASS, Verdict.INCONCLUSIVE, Verdict.FAIL)
    before, after = (judge(DEFAULT, window, stable).verdict for window in (canary, waits))
    assert order.index(after) >= order.index(before)


@settings(max_examples=60, deadline=None)
@given(windows, windows)
def test_a_look_is_never_an_error(canary, stable):
    for baseline in (stable, None):
        assert judge(DEFAULT, canary, baseline).verdict is not Verdict.ERROR
