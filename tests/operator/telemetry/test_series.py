import pytest

from pagelet_operator.core.window import Histogram, Window
from pagelet_operator.telemetry import series
from pagelet_operator.telemetry.exposition import ExpositionError, Sample, samples
from pagelet_operator.telemetry.series import engine_counts, gateway_counts

OF = {"model": "m", "revision": "m-1"}


def requests(outcome: str, count: int) -> Sample:
    return Sample(series.REQUESTS, {**OF, "outcome": outcome}, count)


def bucket(le: str, count: int) -> Sample:
    return Sample(series.TTFT_BUCKET, {**OF, "le": le}, count)


def test_ends_of_requests_are_told_apart():
    ends = {"ok": 100, "client_error": 10, "upstream_error": 1, "unavailable": 2, "timeout": 20,
            "cut": 4, "client_gone": 1000, "bug": 8}  # fmt: skip
    found = gateway_counts([requests(outcome, count) for outcome, count in ends.items()])
    assert found == {
        ("m", "m-1"): Window(
            since=0, until=0, requests=145, errors=15, refusals=10, timeouts=20, abandoned=1000
        )
    }


def test_histograms_durations_and_requests_handed_over_are_read():
    handed = Sample(series.HANDED_OVER, OF, 3)
    spent = Sample(series.E2E_SUM, OF, 12.5)
    found = gateway_counts([bucket("+Inf", 7), bucket("0.5", 4), handed, spent])["m", "m-1"]
    assert found.ttft == Histogram((0.5,), (4, 3))
    assert (found.fallbacks, found.request_seconds) == (3, 12.5)


def test_what_others_answered_belongs_to_no_revision():
    other = Sample(series.REQUESTS, {**OF, "revision": "fallback", "outcome": "ok"}, 5)
    assert gateway_counts([other]) == {}


@pytest.mark.parametrize(
    "wrong",
    [
        [Sample(series.REQUESTS, {"model": "m"}, 1)],
        [bucket("0.5", 4)],
        [bucket("0.5", 4), bucket("+Inf", 3)],
        [bucket("half", 4)],
    ],
)
def test_what_is_no_gateways_metric_is_refused(wrong):
    with pytest.raises(ExpositionError):
        gateway_counts(wrong)


def test_an_engine_tells_its_queue_and_its_tokens():
    text = (
        'vllm:num_requests_waiting{model_name="m"} 3.0\n'
        'vllm:kv_cache_usage_perc{model_name="m"} 0.25\n'
        'pagelet_engine_output_tokens_total{model_name="m"} 40.0\n'
    )
    found = engine_counts(samples(text, series.ENGINE))
    assert (found.queue_samples, found.queue_sum, found.output_tokens) == (1, 3.0, 40)
    assert (found.kv_samples, found.kv_sum) == (1, 0.25)
    assert engine_counts([]) == Window(since=0, until=0)
