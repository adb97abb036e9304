"""A gate's summary: bounded, and with the figures that decisions name."""

import json

from hypothesis import given
from hypothesis import strategies as st

from pagelet_bench.core.gates.summary import (
    CURVE_PERCENTS,
    LENGTH_BOUNDS,
    MAX_BYTES,
    by_length,
    curve,
    document,
    encoded,
    load_figures,
)
from pagelet_bench.core.result import Outcome, RequestResult

VALUES = st.lists(st.floats(0, 1e6), max_size=300)


def result(index, outcome=Outcome.OK, tokens=4):
    times = tuple(1.0 + 0.1 * n for n in range(tokens)) if outcome is Outcome.OK else ()
    return RequestResult(
        index=index,
        outcome=outcome,
        detail="",
        late_s=0.0,
        started_s=0.5,
        ended_s=2.5,
        token_times_s=times,
        prompt_tokens=10,
        output_tokens=tokens,
        requested_tokens=tokens,
    )


def test_time_outs_are_no_errors():
    results = [result(0), result(1), result(2, Outcome.TIMED_OUT), result(3, Outcome.CUT)]
    found = load_figures(results, 4)
    assert (found["requests"], found["errorRate"], found["timeoutRate"]) == (4, 25, 25)
    assert found["ttftP50"] == 0.5
    assert found["tokensPerSecond"] == 2


def test_without_a_result_there_are_no_latencies():
    found = load_figures([], 4)
    assert found["requests"] == 0
    assert "ttftP50" not in found


@given(VALUES, VALUES, st.lists(st.integers(1, 10**7), max_size=100))
def test_any_summary_fits(ttft, itl, tokens):
    figures = {name: 1e6 / 3 for name in load_figures([result(0)], 1)} | {"queueDepthPeak": 1 / 3}
    found = document(
        "loadTest",
        figures,
        "é" * 1000,
        {"ttft": curve(ttft), "itl": curve(itl)},
        {"prompt": by_length(tokens), "output": by_length(tokens)},
    )
    data = encoded(found)
    assert len(data) <= MAX_BYTES
    assert json.loads(data) == found


@given(VALUES.filter(bool))
def test_a_curve_rises_from_the_least_to_the_most(values):
    found = curve(values)
    assert len(found) == len(CURVE_PERCENTS)
    assert found == sorted(found)
    assert (found[0], found[-1]) == (min(values), max(values))


@given(st.lists(st.integers(1, 10**6)))
def test_every_length_falls_into_one_bucket(tokens):
    counts = by_length(tokens)
    assert sum(counts) == len(tokens)
    assert sum(counts[:1]) == sum(count <= LENGTH_BOUNDS[0] for count in tokens)
