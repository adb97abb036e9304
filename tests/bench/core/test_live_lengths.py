"""Lengths are taken from the histograms that a server shows, whatever it calls them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagelet_bench.core.errors import UsageError
from pagelet_bench.core.live_lengths import live_lengths


def histogram(name, counts, above=0, labels='model_name="m"'):
    """Write a histogram with bounds 8, 16, 32, ... as Prometheus does, counts cumulative."""
    lines, total = [f"# TYPE {name} histogram"], 0
    for place, count in enumerate(counts):
        total += count
        lines.append(f'{name}_bucket{{{labels},le="{2.0 ** (3 + place)}"}} {total}.0')
    lines.append(f'{name}_bucket{{{labels},le="+Inf"}} {total + above}.0')
    return "\n".join([*lines, f"{name}_count{{{labels}}} {total + above}.0", ""])


@pytest.mark.parametrize(
    ("prompt", "output"),
    [
        ("pagelet_engine_request_prompt_tokens", "pagelet_engine_request_output_tokens"),
        ("pagelet_gateway_prompt_tokens", "pagelet_gateway_output_tokens"),
        ("vllm:request_prompt_tokens", "vllm:request_generation_tokens"),
    ],
)
def test_the_histograms_of_known_servers_are_found(prompt, output):
    text = histogram(prompt, [1, 2, 3]) + histogram(output, [4, 0, 1])
    prompts, outputs = live_lengths(text)
    assert prompts.counts == (1.0, 2.0, 3.0)
    assert outputs.counts == (4.0, 0.0, 1.0)
    assert prompts.bounds == (8.0, 16.0, 32.0)


def test_what_lies_above_the_last_bound_counts_as_that_long():
    text = histogram("a_prompt_tokens", [1, 2], above=4) + histogram("a_output_tokens", [1])
    assert live_lengths(text)[0].counts == (1.0, 6.0)


def test_replicas_and_revisions_are_added_up():
    text = "".join(histogram("a_prompt_tokens", [n, 1], labels=f'revision="r{n}"') for n in (1, 2))
    assert live_lengths(text + histogram("a_output_tokens", [1]))[0].counts == (3.0, 2.0)


@given(st.lists(st.integers(0, 99), min_size=1, max_size=8).filter(any), st.integers(0, 9))
def test_no_request_is_lost_or_invented(counts, above):
    text = histogram("a_prompt_tokens", counts, above) + histogram("a_output_tokens", [1])
    assert sum(live_lengths(text)[0].counts) == sum(counts) + above


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no histogram of prompt lengths"),
        (histogram("a_prompt_tokens", [1]), "no histogram of output lengths"),
        (histogram("a_prompt_tokens", [0]), "prompt lengths has counted no request"),
        ("a_prompt_tokens_bucket 5", "no histogram of prompt lengths"),
    ],
)
def test_metrics_without_lengths_are_refused(text, said):
    with pytest.raises(UsageError, match=said):
        live_lengths(text)
