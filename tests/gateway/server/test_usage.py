import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagelet_gateway.server.usage import TAIL_BYTES, Tail, Usage, usage_in

COUNTS = st.integers(0, 10**9)


@given(COUNTS, COUNTS, st.lists(st.integers(0, 5000), max_size=6), st.booleans())
def test_usage_is_found_however_an_answer_is_cut(prompt, output, cuts, is_spaced):
    usage = {
        "completion_tokens": output,
        "prompt_tokens_details": {"cached_tokens": 3},
        "prompt_tokens": prompt,
        "completion_tokens_details": {"reasoning_tokens": 9},
    }
    answer = {"choices": [{"text": "x" * 3000}], "usage": usage, "system_fingerprint": "f"}
    whole = json.dumps(answer, separators=None if is_spaced else (",", ":")).encode()
    tail, start = Tail(), 0
    for end in [*sorted(cuts), len(whole)]:
        tail.feed(whole[start:end])
        start = max(start, min(end, len(whole)))
    assert tail.usage() == Usage(prompt, output)


@given(st.text(max_size=30))
def test_what_a_model_writes_is_never_its_usage(text):
    lie = text + ' "usage": {"prompt_tokens": 1, "completion_tokens": 1}'
    assert usage_in(json.dumps({"choices": [{"text": lie}]}).encode()) is None


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b'{"usage": null}',
        b'{"usage": {"prompt_tokens": -1}}',
        b'{"usage": {"total_tokens": 4}}',
    ],
)
def test_without_counts_there_is_no_usage(text):
    assert usage_in(text) is None


def test_no_more_than_the_end_is_kept():
    tail = Tail()
    tail.feed(b'"usage": {"prompt_tokens": 5}')
    tail.feed(b"x" * TAIL_BYTES)
    assert tail.usage() is None


def test_many_small_parts_pile_up_no_further_than_the_bound():
    tail = Tail()
    for _ in range(3 * TAIL_BYTES // 100):
        tail.feed(b"x" * 100)
        assert len(tail._kept) <= TAIL_BYTES
