import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pagelet_operator.core.model import Capacity, Strategy
from pagelet_operator.core.planner.errors import PlanError
from pagelet_operator.core.planner.estimate import Question, estimate
from pagelet_operator.core.planner.fleet import Price
from pagelet_operator.core.planner.service import Targets
from planner_cases import CHAT, CPU, H100, LLAMA_8B, SMOLLM2, asked, longer, mixes

ASK = Question(device=H100, mix=CHAT)
some = settings(max_examples=40)


def found(question=ASK, **resource):
    return estimate(LLAMA_8B, asked(**resource), question)


def with_(**parts):
    return dataclasses.replace(ASK, **parts)


@some
@given(mixes(), st.floats(0.1, 1000), st.floats(1, 10), st.floats(0, 0.9))
def test_a_higher_rate_never_takes_fewer_replicas_or_less_money(mix, rate, factor, headroom):
    price = Price(amount=2.0, currency="EUR")
    low = with_(mix=mix, rate_per_s=rate, headroom=headroom, price=price)
    high = dataclasses.replace(low, rate_per_s=rate * factor)
    few, many = found(low), found(high)
    assert few.replicas <= many.replicas
    assert few.gpus <= many.gpus
    assert few.monthly <= many.monthly
    assert all(a.gpus <= b.gpus for a, b in zip(few.peaks, many.peaks, strict=True))


@some
@given(mixes(), st.floats(0.1, 100), st.floats(1, 10))
def test_longer_prompts_never_take_fewer_replicas(mix, rate, factor):
    short = found(with_(mix=mix, rate_per_s=rate))
    long = found(with_(mix=longer(mix, factor), rate_per_s=rate))
    assert short.replicas <= long.replicas
    assert short.places >= long.places


@some
@given(mixes(), st.floats(0.1, 1000))
def test_the_replicas_keep_the_targets_at_the_rate(mix, rate):
    targets = Targets(ttft_p99_s=2.0, itl_p99_s=0.2)
    answer = found(with_(mix=mix, rate_per_s=rate), targets=targets)
    if answer.most is None:
        assert any("no number of replicas keeps" in warning for warning in answer.warnings)
        return
    assert answer.expected.ttft_p99_s <= 2.0 * (1 + 1e-6)
    assert answer.expected.itl_p99_s <= 0.2 * (1 + 1e-6)
    assert answer.expected.requests_per_s * answer.replicas == pytest.approx(rate)


def test_the_resource_s_minimum_stands():
    assert found(with_(rate_per_s=0.1), min_replicas=3).replicas == 3


def test_without_lengths_only_sizes_are_said():
    answer = found(with_(mix=None))
    assert (answer.most, answer.expected, answer.places) == (None, None, None)
    assert [fit.name for fit in answer.fits] == ["maxModelLen"]


def test_a_recording_s_busiest_minute_is_the_rate_unless_one_is_given():
    recorded = dataclasses.replace(CHAT, rate_per_s=5.0)
    assert found(with_(mix=recorded)).rate_per_s == 5.0
    assert found(with_(mix=recorded, rate_per_s=7.0)).rate_per_s == 7.0


def test_a_cpu_has_a_price_and_no_gpus():
    question = Question(device=CPU, price=Price(amount=0.1, currency="USD"))
    answer = estimate(SMOLLM2, asked(min_replicas=2), question)
    assert (answer.gpus, answer.monthly, answer.steps) == (0, pytest.approx(146), None)
    assert {peak.gpus for peak in answer.peaks} == {0}


@pytest.mark.parametrize(
    ("question", "resource", "named"),
    [
        ({"rate_per_s": 900.0}, {"max_replicas": 4}, "scaling.maxReplicas allows 4"),
        ({"rate_per_s": 900.0}, {"max_replicas": None}, "scaling.minReplicas allows 1"),
        ({}, {"gpus_each": 2}, "asks for 2 GPUs"),
        ({}, {"capacity": Capacity.BORROW}, "rollout.capacity Borrow"),
        ({}, {"strategy": Strategy.RECREATE}, "rollout.strategy Recreate"),
        ({}, {"targets": Targets(ttft_p99_s=1e-6)}, "no number of replicas keeps"),
    ],
)
def test_what_breaks_the_plan_is_a_warning(question, resource, named):
    assert any(named in warning for warning in found(with_(**question), **resource).warnings)


@pytest.mark.parametrize(
    ("question", "named"),
    [
        ({"rate_per_s": 0.0}, "--rate is 0"),
        ({"rate_per_s": float("nan")}, "--rate is nan"),
        ({"rate_per_s": float("inf")}, "--rate is inf"),
        ({"headroom": 1.0}, "--headroom is 1"),
        ({"headroom": -0.1}, "--headroom is -0.1"),
        ({"rate_per_s": 1.0, "mix": None}, "--rate needs the lengths"),
    ],
)
def test_bad_input_is_refused_by_flag(question, named):
    with pytest.raises(PlanError) as error:
        found(with_(**question))
    assert named in str(error.value)


def test_one_replica_too_many_is_a_warning_and_the_last_allowed_is_not():
    needed = found(with_(rate_per_s=90.0)).replicas
    assert needed > 1
    for most, warns in ((needed, False), (needed - 1, True)):
        warnings = found(with_(rate_per_s=90.0), max_replicas=most).warnings
        assert any("scaling.maxReplicas" in warning for warning in warnings) == warns
