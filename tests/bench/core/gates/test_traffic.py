"""A load like users' traffic has its shape, however few requests it has."""

from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagelet_bench.core.errors import UsageError
from pagelet_bench.core.gates.summary import LENGTH_BOUNDS, by_length
from pagelet_bench.core.gates.traffic import like_traffic
from pagelet_bench.core.profiles import MIXED48, SINGLE
from pagelet_bench.core.workload import plan

COUNTS = st.lists(st.integers(0, 999), min_size=16, max_size=16).filter(lambda c: sum(c[:-1]))


def shares(counts):
    return [part / sum(counts) for part in accumulate(counts)]


@given(COUNTS, COUNTS)
def test_lengths_lie_within_half_a_request_of_the_traffic(prompt, output):
    found = like_traffic(MIXED48, {"prompt": prompt, "output": output})
    for counts, lengths in (
        (prompt, [row.prompt_tokens for row in found.trace]),
        (output, [row.output_tokens for row in found.trace]),
    ):
        bounded = [*counts[:-2], counts[-2] + counts[-1], 0]
        apart = [
            abs(a - b) for a, b in zip(shares(bounded), shares(by_length(lengths)), strict=True)
        ]
        assert max(apart) <= 0.5 / MIXED48.requests + 1e-9


def test_the_plan_has_these_lengths_and_the_profile_s_requests_at_once():
    counts = [0, 10, 10, 10] + [0] * 12
    found = like_traffic(MIXED48, {"prompt": counts, "output": counts})
    requests = plan(found, vocab_size=512)
    assert (len(requests), found.concurrency) == (48, 48)
    sent = [(len(item.prompt_token_ids), item.output_tokens) for item in requests]
    assert sorted(p for p, _ in sent) == sorted(o for _, o in sent)
    assert [p for p, _ in sent] != [o for _, o in sent], "long prompts have short answers, too"
    assert max(p for p, _ in sent) <= LENGTH_BOUNDS[3]


@pytest.mark.parametrize(
    "wrong",
    [{}, {"prompt": [1] * 16}, {"prompt": [1] * 15, "output": [1] * 16},
     {"prompt": [-1] * 16, "output": [1] * 16}, {"prompt": ["1"] * 16, "output": [1] * 16},
     {"prompt": [0] * 16, "output": [1] * 16}],
)  # fmt: skip
def test_what_are_no_counts_is_refused(wrong):
    with pytest.raises(UsageError):
        like_traffic(SINGLE, wrong)
