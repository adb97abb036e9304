"""Who is sent away, with which sentence, and until when."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagelet_engine.core.admission import (
    MAX_RETRY_AFTER_S,
    AdmissionLimits,
    Load,
    Refusal,
    ServiceRate,
    refuse,
)
from pagelet_engine.core.finish import ErrorKind

LOAD = Load(num_queued=4, num_running=6, num_queued_tokens=1000)


def _refuse(
    load: Load = LOAD,
    *,
    new: int = 100,
    patience_s: float | None = None,
    rate: float | None = 100.0,
    **limits: float,
) -> Refusal | None:
    return refuse(
        AdmissionLimits(**limits),  # type: ignore[arg-type]
        load,
        num_new_tokens=new,
        patience_s=patience_s,
        tokens_per_second=rate,
    )


@pytest.mark.parametrize(
    ("limits", "says", "retry_after_s"),
    [
        ({"max_queued_requests": 4}, "waiting", 2.5),  # one of four with 250 tokens each
        ({"max_queued_requests": 5}, None, None),
        ({"max_concurrent_requests": 10}, "in progress", 2.5),
        ({"max_concurrent_requests": 11}, None, None),
        ({"max_queued_tokens": 800}, "prompt tokens", 3.0),
        ({"max_queued_tokens": 1100}, None, None),
        ({"queue_timeout_s": 8.0}, "about 10 s, at most 8 s", 2.0),
        ({"queue_timeout_s": 10.0}, None, None),
        ({"patience_s": 7.0}, "about 11 s", 4.0),
        ({"patience_s": 11.0}, None, None),
        ({"patience_s": 10.9}, "about 11 s", 1.0),
        ({"queue_timeout_s": 0.5, "rate": 1.0}, "at most", MAX_RETRY_AFTER_S),
        ({"queue_timeout_s": 0.5, "patience_s": 0.1, "rate": None}, None, None),
    ],
)
def test_a_full_or_slow_queue_sends_newcomers_away_for_as_long_as_it_takes(
    limits: dict[str, float], says: str | None, retry_after_s: float | None
):
    refusal = _refuse(**limits)  # type: ignore[arg-type]
    if says is None:
        assert refusal is None
        return
    assert refusal is not None
    assert refusal.kind is ErrorKind.OVERLOADED
    assert says in refusal.message
    assert refusal.retry_after_s == pytest.approx(retry_after_s)


def test_an_idle_engine_takes_whatever_could_ever_be_taken():
    idle = Load(num_queued=0, num_running=0, num_queued_tokens=0)
    assert _refuse(idle, new=5000, max_queued_tokens=10, patience_s=0.1) is None


@given(
    st.integers(0, 5), st.integers(0, 5), st.integers(0, 500), st.integers(1, 500),
    st.one_of(st.none(), st.floats(0.01, 10)), st.one_of(st.none(), st.floats(0.1, 1000)),
)  # fmt: skip
def test_who_would_be_taken_is_taken_by_an_emptier_engine_too(
    queued: int, running: int, tokens: int, new: int, patience_s: float | None, rate: float | None
):
    limits = {
        "max_queued_requests": 3, "max_queued_tokens": 600, "max_concurrent_requests": 7,
        "queue_timeout_s": 2.0,
    }  # fmt: skip
    load = Load(num_queued=queued, num_running=running, num_queued_tokens=tokens * bool(queued))
    less = Load(
        num_queued=queued // 2, num_running=running // 2,
        num_queued_tokens=load.num_queued_tokens // 2 * bool(queued // 2),
    )  # fmt: skip
    refusal = _refuse(load, new=new, patience_s=patience_s, rate=rate, **limits)
    if refusal is None:
        assert _refuse(less, new=new, patience_s=patience_s, rate=rate, **limits) is None
    else:
        assert 1.0 <= (refusal.retry_after_s or 0.0) <= MAX_RETRY_AFTER_S


def test_the_rate_is_that_of_busy_time_and_forgets():
    rate = ServiceRate()
    rate.observe(90, 0.9, has_backlog=False)
    assert rate.tokens_per_second is None  # too little to judge by
    rate.observe(20, 0.2, has_backlog=True)
    assert rate.tokens_per_second == pytest.approx(100, rel=0.01)
    rate.observe(0, 500.0, has_backlog=False)  # nothing to do says nothing
    assert rate.tokens_per_second == pytest.approx(100, rel=0.01)
    for _ in range(100):
        rate.observe(0, 0.5, has_backlog=True)  # a queue that stands still says a lot
    assert (rate.tokens_per_second or 0.0) < 5
    for _ in range(100):
        rate.observe(400, 1.0, has_backlog=True)
    assert rate.tokens_per_second == pytest.approx(400, rel=0.02)
