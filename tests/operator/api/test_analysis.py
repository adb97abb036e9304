"""From `spec.rollout.analysis` to the policy verdicts are made on."""

from typing import get_args

import pytest
from pydantic import ValidationError

from pagelet_operator.api.analysis import Analysis, MetricName, analysis_policy
from pagelet_operator.core.analysis import AnalysisPolicy, Baseline, Rule
from pagelet_operator.core.measure import Metric


def policy(**fields: object) -> AnalysisPolicy:
    return analysis_policy(Analysis.model_validate(fields))


def test_what_is_not_said_is_the_cores_default():
    assert policy() == AnalysisPolicy()


def test_every_metric_has_a_name_and_no_name_is_without_metric():
    assert set(get_args(MetricName)) == set(Metric)


def test_limits_arrive_in_the_units_of_decisions():
    said = policy(
        interval="1m",
        minRequests=7,
        failureLimit=3,
        baseline="Fixed",
        metrics=[
            {"name": "ttftP99", "max": "800ms", "maxIncreasePercent": 20},
            {"name": "itlP50", "max": "0.05s"},
            {"name": "errorRate", "max": "1.5%"},
            {"name": "queueDepth", "max": "8"},
            {"name": "tokensPerSecond", "min": "12.5", "maxDecreasePercent": 30},
        ],
    )
    assert said == AnalysisPolicy(
        interval_s=60.0,
        min_requests=7,
        failure_limit=3,
        baseline=Baseline.FIXED,
        metrics=(
            Rule(metric=Metric.TTFT_P99, limit=0.8, change_percent=20.0),
            Rule(metric=Metric.ITL_P50, limit=0.05),
            Rule(metric=Metric.ERROR_RATE, limit=1.5),
            Rule(metric=Metric.QUEUE_DEPTH, limit=8.0),
            Rule(metric=Metric.TOKENS_PER_SECOND, limit=12.5, change_percent=30.0),
        ),
    )


def test_no_increase_at_all_is_a_limit_too():
    assert policy(metrics=[{"name": "errorRate", "maxIncreasePercent": 0}]).metrics == (
        Rule(metric=Metric.ERROR_RATE, change_percent=0.0),
    )


@pytest.mark.parametrize(
    ("metric", "sentence"),
    [
        ({"name": "ttftP98", "max": "1s"}, "ttftP95"),
        ({"name": "ttftP95"}, "needs max or maxIncreasePercent"),
        ({"name": "ttftP95", "max": "5"}, "800ms"),
        ({"name": "ttftP95", "max": "5%"}, "800ms"),
        ({"name": "ttftP95", "max": "soon"}, "pattern"),
        ({"name": "errorRate", "max": "0.01"}, "1.5%"),
        ({"name": "queueDepth", "max": "8s"}, "plain number"),
        ({"name": "queueDepth", "min": "8"}, "have max"),
        ({"name": "tokensPerSecond", "max": "8"}, "has min"),
        ({"name": "tokensPerSecond", "maxIncreasePercent": 8}, "has min"),
        ({"name": "itlP95", "maxIncreasePercent": -1}, "greater"),
    ],
)
def test_a_limit_that_means_nothing_is_refused_with_what_mends_it(metric, sentence):
    with pytest.raises(ValidationError, match=sentence):
        Analysis.model_validate({"metrics": [metric]})


def test_a_metric_named_twice_is_refused():
    metric = {"name": "itlP95", "max": "1s"}
    with pytest.raises(ValidationError, match="itlP95 is named twice"):
        Analysis.model_validate({"metrics": [metric, metric]})


@pytest.mark.parametrize("interval", ["15", "0s", "999ms", "-1s"])
def test_an_interval_needs_a_unit_and_a_second(interval):
    with pytest.raises(ValidationError, match="interval"):
        Analysis.model_validate({"interval": interval})
