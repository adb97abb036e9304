"""A replica by its step times."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagelet_operator.simulation.engine import Hardware, Replica, Request

HARDWARE = Hardware(places=2, step_s=0.01, step_per_sequence_s=0.005, prefill_tokens_per_s=1000.0)


def served(*requests, hardware=HARDWARE):
    replica, done = Replica(hardware, 0.0, 0.0), []
    for request in requests:
        done += replica.advance(request.at)
        replica.take(request)
    return done + replica.advance(1e9)


def test_one_request_takes_its_prompt_and_its_steps():
    (done,) = served(Request(0.0, 100, 20))
    assert done.ttft_s == pytest.approx(0.1)
    assert done.ended_at == pytest.approx(0.1 + 20 * 0.015)
    assert done.itl_s == pytest.approx(0.015)


def test_a_full_batch_makes_others_wait():
    first, second, third = served(*(Request(0.0, 1, 100) for _ in range(3)))
    assert first.itl_s == pytest.approx(0.02, rel=0.1)
    assert third.ttft_s > first.ended_at * 0.9
    assert second.ttft_s < 0.01


@given(st.lists(st.tuples(st.floats(0, 100), st.integers(1, 999), st.integers(1, 99)), max_size=30))
def test_every_request_ends_once_and_after_it_began(drawn):
    requests = [Request(*item) for item in sorted(drawn)]
    done = served(*requests)
    assert sorted(id(item.request) for item in done) == sorted(map(id, requests))
    for item in done:
        assert item.ttft_s >= item.request.prompt_tokens / 1000.0 - 1e-6
        assert item.ended_at >= item.request.at + item.ttft_s - 1e-6
