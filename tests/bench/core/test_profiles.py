"""The named workloads are what their documentation says."""

import pytest

from pagelet_bench.core.errors import UsageError
from pagelet_bench.core.profiles import MIXED48, PROFILES, SINGLE, Changes, adjusted, named
from pagelet_bench.core.workload import plan


def totals(profile):
    planned = plan(profile, vocab_size=32_000)
    prompts = sum(len(request.prompt_token_ids) for request in planned)
    return prompts, sum(request.output_tokens for request in planned)


def test_mixed48_has_the_documented_totals_within_a_thousandth_of_the_first_measurement():
    assert totals(MIXED48) == (9561, 4259)
    assert totals(MIXED48)[0] == pytest.approx(9564, rel=1e-3)
    assert totals(MIXED48)[1] == pytest.approx(4261, rel=1e-3)


def test_mixed48_is_48_requests_at_once_within_its_clips():
    planned = plan(MIXED48, vocab_size=32_000)
    assert len(planned) == MIXED48.concurrency == 48
    assert all(16 <= len(request.prompt_token_ids) <= 1024 for request in planned)
    assert all(8 <= request.output_tokens <= 256 for request in planned)


def test_single_is_one_stream_of_128_in_and_128_out():
    assert SINGLE.concurrency == 1
    for request in plan(SINGLE, vocab_size=32_000):
        assert (len(request.prompt_token_ids), request.output_tokens) == (128, 128)


def test_profiles_are_found_by_their_names():
    assert all(named(name).name == name for name in PROFILES)


def test_an_unknown_profile_is_refused_with_those_that_exist():
    with pytest.raises(UsageError, match=r"'x'.*mixed48, single"):
        named("x")


def test_nothing_given_changes_nothing():
    assert adjusted(MIXED48, Changes()) == MIXED48


def test_a_rate_replaces_the_concurrency():
    changed = adjusted(MIXED48, Changes(rate_per_s=2.0))
    assert (changed.concurrency, changed.rate_per_s) == (None, 2.0)


def test_given_values_replace_the_profiles():
    changed = adjusted(MIXED48, Changes(requests=7, concurrency=3, seed=0))
    assert (changed.requests, changed.concurrency, changed.seed) == (7, 3, 0)


def test_a_rate_and_a_concurrency_together_are_refused():
    with pytest.raises(UsageError, match="not both"):
        adjusted(MIXED48, Changes(rate_per_s=2.0, concurrency=3))


def test_a_duration_becomes_as_many_requests_as_arrive_in_it():
    changed = adjusted(MIXED48, Changes(rate_per_s=2.0, duration_s=30.0, turns=2))
    assert changed.requests == 120


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (Changes(duration_s=3.0), "needs a rate"),
        (Changes(duration_s=0.0, rate_per_s=1.0), "duration is 0"),
        (Changes(duration_s=3.0, rate_per_s=1.0, requests=2), "not both"),
        (Changes(burstiness=0.5), "give a rate"),
        (Changes(burstiness=-1.0, rate_per_s=1.0), "burstiness is -1"),
    ],
)
def test_changes_that_contradict_each_other_are_refused(changes, said):
    with pytest.raises(UsageError, match=said):
        adjusted(MIXED48, changes)
