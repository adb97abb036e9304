"""Recorded requests are taken as they were, or refused with the row that is wrong."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagelet_bench.core.errors import UsageError
from pagelet_bench.core.trace import TraceRow, columns, trace

OURS = columns(["arrived_s", "prompt_tokens", "output_tokens"])


def rows(*lengths):
    return [{"prompt_tokens": str(a), "output_tokens": str(b)} for a, b in lengths]


@pytest.mark.parametrize(
    ("header", "found"),
    [
        ("TIMESTAMP,ContextTokens,GeneratedTokens", ("ContextTokens", "GeneratedTokens")),
        (
            "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type",
            ("Request tokens", "Response tokens"),
        ),
        ("prompt_tokens,output_tokens", ("prompt_tokens", "output_tokens")),
    ],
)
def test_files_of_public_traces_are_known_by_their_columns(header, found):
    known = columns(header.split(","))
    assert (known.prompt, known.output) == found
    assert (known.time is None) == ("imestamp" not in header.lower())


@given(
    st.lists(st.tuples(st.integers(0, 999), st.integers(0, 999)), min_size=1).filter(
        lambda pairs: any(a and b for a, b in pairs)
    ),
    st.floats(0, 1e9),
)
def test_every_request_with_a_prompt_and_an_answer_is_kept_with_its_time(pairs, begin):
    times = [begin + n for n in range(len(pairs))]
    kept = trace(rows(*pairs), OURS, times)
    expected = [TraceRow(a, b, times[n] - begin) for n, (a, b) in enumerate(pairs) if a and b]
    assert list(kept) == expected


def test_without_times_there_are_none():
    assert trace(rows((3, 4)), OURS, None) == (TraceRow(3, 4, None),)


@pytest.mark.parametrize(
    ("pairs", "times", "said"),
    [
        ([], [], "it is empty"),
        ([(1, 0), (0, 1)], None, "it is empty"),
        ([(1, 1), (1, 1)], [2.0, 1.0], "row 2 of the trace, column 'arrived_s'.*sort"),
        ([(1, "x")], None, "row 1 of the trace, column 'output_tokens', is 'x'"),
        ([(1, 1), (-1, 1)], None, "row 2 of the trace, column 'prompt_tokens', is '-1'"),
    ],
)
def test_what_is_wrong_is_named(pairs, times, said):
    with pytest.raises(UsageError, match=said):
        trace(rows(*pairs), OURS, times)


def test_a_file_without_lengths_is_refused_with_the_names_that_are_known():
    with pytest.raises(UsageError, match=r"no column with output lengths; it has a, prompt_tokens"):
        columns(["a", "prompt_tokens"])
