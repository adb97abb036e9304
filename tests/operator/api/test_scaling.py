"""`spec.scaling`: what it means to the scaler, and what is refused."""

import pytest

from operator_resources import resource
from pagelet_operator.api.resource import InvalidResourceError, parse, to_model


def policy_of(**scaling):
    return to_model(parse(resource(scaling=scaling, engine={"maxNumSeqs": 8}))).scaling


@pytest.mark.parametrize("scaling", [{}, {"minReplicas": 3}, {"minReplicas": 3, "external": True}])
def test_without_a_maximum_or_with_another_scaler_nothing_is_decided(scaling):
    assert policy_of(**scaling) is None


def test_every_field_reaches_the_scaler():
    policy = policy_of(
        minReplicas=2,
        maxReplicas=9,
        targets={"ttftP99": "2s", "itlP99": "50ms", "queueDepth": 3, "kvCacheUsage": 70},
        scaleUp={"percentPerMinute": 50, "replicasPerMinute": 2},
        scaleDown={"window": "10m", "percentPerMinute": 20, "settle": "30m"},
    )
    assert (policy.min_replicas, policy.max_replicas, policy.places) == (2, 9, 8)
    targets = policy.targets
    assert (targets.ttft_p99_s, targets.itl_p99_s) == (2.0, 0.05)
    assert (targets.queue_depth, targets.kv_cache_usage) == (3.0, 0.7)
    assert (policy.up_percent_per_minute, policy.up_replicas_per_minute) == (50, 2)
    assert (policy.down_window_s, policy.settle_s) == (600.0, 1800.0)
    assert policy.down_percent_per_minute == 20


@pytest.mark.parametrize(("window", "interval_s"), [("5m", 15.0), ("20s", 5.0), ("1s", 2.0)])
def test_a_window_has_four_readings_if_it_can(window, interval_s):
    assert policy_of(maxReplicas=2, scaleDown={"window": window}).interval_s == interval_s


@pytest.mark.parametrize(
    ("scaling", "said"),
    [
        ({"minReplicas": 3, "maxReplicas": 2}, "maxReplicas must not be below minReplicas: 2"),
        ({"maxReplicas": 2, "external": True}, "remove maxReplicas, or external"),
        ({"maxReplicas": 0}, "scaling.maxReplicas"),
        ({"maxReplicas": 2, "targets": {"queueDepth": 0}}, "scaling.targets.queueDepth"),
        ({"maxReplicas": 2, "targets": {"ttftP99": "0s"}}, "scaling.targets.ttftP99"),
        ({"maxReplicas": 2, "targets": {"ttftP95": "1s"}}, "unknown field"),
        ({"maxReplicas": 2, "scaleDown": {"window": "5"}}, "scaling.scaleDown.window"),
        ({"maxReplicas": 2, "scaleUp": {"replicasPerMinute": 0}}, "replicasPerMinute"),
    ],
)
def test_what_cannot_work_is_refused_by_its_field(scaling, said):
    with pytest.raises(InvalidResourceError, match=said.replace(".", r"\.")):
        policy_of(**scaling)


def test_scaling_makes_no_revision():
    plain, scaled = (parse(resource(scaling=s)) for s in ({}, {"maxReplicas": 4}))
    assert to_model(plain).revision == to_model(scaled).revision
