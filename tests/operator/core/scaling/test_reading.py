"""One reading out of what replicas and gateways told."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operator_models import a_fleet
from pagelet_operator.core.model import Role
from pagelet_operator.core.scaling.reading import MIN_REQUESTS, ReplicaLoad, reading, streams
from pagelet_operator.core.window import Histogram, Window

NOW = 1000.0
STABLE, CANARY = "http://chat-a-{}:8000", "http://chat-b-{}:8000"


def load(running=10.0, waiting=2.0, kv_usage=0.5, at=NOW):
    return ReplicaLoad(at=at, running=running, waiting=waiting, kv_usage=kv_usage)


def read(fleet, loads, windows=None, canary=None):
    return reading(fleet, "chat-a", canary, loads, windows or {}, fresh_since=NOW - 45.0)


def test_replicas_add_up():
    fleet = a_fleet({"chat-a": 2})
    seen = read(fleet, {STABLE.format(0): load(), STABLE.format(1): load(20.0, 0.0, 0.7)})
    assert (seen.ready, seen.asked, seen.answered, seen.at) == (2, 2, 2, NOW)
    assert (seen.running, seen.waiting, seen.kv_usage) == (30.0, 2.0, pytest.approx(0.6))
    assert seen.settled


def test_a_replica_whose_words_are_old_did_not_answer():
    fleet = a_fleet({"chat-a": 2})
    seen = read(fleet, {STABLE.format(0): load(), STABLE.format(1): load(at=NOW - 46.0)})
    assert (seen.answered, seen.running) == (0, 10.0)


def test_nobody_told_anything():
    seen = read(a_fleet({"chat-a": 2}), {})
    assert (seen.at, seen.answered) == (None, 0)


def test_strangers_do_not_count():
    assert read(a_fleet({"chat-a": 1}), {"http://other:8000": load()}).running == 0.0


def test_in_a_rollout_both_revisions_traffic_counts_for_one_number_of_replicas():
    fleet = a_fleet({"chat-a": 2, "chat-b": 2}, {"chat-a": Role.STABLE, "chat-b": Role.CANARY})
    loads = {form.format(index): load() for form in (STABLE, CANARY) for index in range(2)}
    seen = read(fleet, loads, canary="chat-b")
    assert (seen.ready, seen.answered, seen.running, seen.settled) == (2, 2, 40.0, False)


def test_counts_become_rates():
    window = Window(
        since=NOW - 50.0, until=NOW, requests=100, errors=10, timeouts=5, refusals=5,
        request_seconds=500.0, output_tokens=5000,
    )  # fmt: skip
    seen = read(a_fleet({"chat-a": 1}), {STABLE.format(0): load()}, {"chat-a": window})
    assert (seen.served_per_s, seen.unserved_per_s) == (1.6, 0.3)
    assert (seen.in_flight, seen.tokens_per_s) == (10.0, 100.0)
    assert (seen.ttft_p99_s, seen.itl_p99_s) == (None, None)


def test_a_p99_needs_enough_requests():
    few, many = (Histogram((0.1, 1.0), (0, n, 0)) for n in (MIN_REQUESTS - 1, MIN_REQUESTS))
    window = Window(since=NOW - 60.0, until=NOW, ttft=few)
    fleet, loads = a_fleet({"chat-a": 1}), {STABLE.format(0): load()}
    assert read(fleet, loads, {"chat-a": window}).ttft_p99_s is None
    told = read(fleet, loads, {"chat-a": replace(window, ttft=many)}).ttft_p99_s
    assert told == pytest.approx(0.991)


@pytest.mark.parametrize(("long", "expected"), [(5, True), (0, False)])
def test_few_huge_prompts_are_seen_by_their_lengths(long, expected):
    lengths = Histogram((100.0, 1000.0, 10_000.0), (195, 0, long, 0))
    window = Window(since=NOW - 60.0, until=NOW, prompt_lengths=lengths)
    seen = read(a_fleet({"chat-a": 1}), {}, {"chat-a": window})
    assert seen.long_prompts is expected


@given(st.dictionaries(st.text(max_size=3), st.tuples(st.floats(0, 99), st.floats(0, 99))))
def test_streams_are_what_runs_and_waits(told):
    loads = {name: load(running, waiting) for name, (running, waiting) in told.items()}
    assert streams(loads) == {name: sum(pair) for name, pair in told.items()}
