"""What is odd, old or absent is named, and never believed."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagelet_operator.core.scaling import Seen
from pagelet_operator.core.scaling.seen import contradicts, fault

NOW = 1_000_000.0
GOOD = Seen(ready=2, at=NOW - 5, answered=2, running=10.0, in_flight=12.0, ttft_p99_s=0.3)
FLOATS = (
    "running", "waiting", "kv_usage", "served_per_s", "unserved_per_s", "in_flight",
    "tokens_per_s", "ttft_p99_s", "itl_p99_s",
)  # fmt: skip


def test_a_good_reading_has_no_fault():
    assert fault(GOOD, NOW, 45.0) is None


@pytest.mark.parametrize("name", FLOATS)
@pytest.mark.parametrize("value", [math.nan, -1.0, -math.inf])
def test_a_figure_that_counts_nothing_is_named(name, value):
    assert name in (fault(replace(GOOD, **{name: value}), NOW, 45.0) or "")


@pytest.mark.parametrize("name", sorted(set(FLOATS) - {"ttft_p99_s", "itl_p99_s"}))
def test_no_count_is_infinite(name):
    assert name in (fault(replace(GOOD, **{name: math.inf}), NOW, 45.0) or "")


def test_a_latency_above_the_last_bucket_is_a_fact():
    assert fault(replace(GOOD, ttft_p99_s=math.inf, itl_p99_s=math.inf), NOW, 45.0) is None


@pytest.mark.parametrize(
    ("at", "said"), [(None, "no replica told"), (NOW - 46, "46 s old"), (NOW + 46, "clocks differ")]
)
def test_a_reading_of_another_time_is_named(at, said):
    assert said in (fault(replace(GOOD, at=at), NOW, 45.0) or "")


def test_a_cache_cannot_be_fuller_than_full():
    assert "kv_usage" in (fault(replace(GOOD, kv_usage=1.01), NOW, 45.0) or "")


@given(running=st.floats(0, 1e4), waiting=st.floats(0, 1e4))
def test_engines_that_admit_to_the_requests_contradict_nobody(running, waiting):
    seen = replace(GOOD, running=running, waiting=waiting, in_flight=running + waiting)
    assert not contradicts(seen)


def test_engines_that_hide_their_requests_contradict_the_gateways():
    assert contradicts(replace(GOOD, running=0.0, waiting=0.0, in_flight=20.0))
