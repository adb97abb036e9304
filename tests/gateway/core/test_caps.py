import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagelet_gateway.core.caps import estimate, output_limit, prompt_estimate, refusal, tighter
from pagelet_gateway.core.route_table import Caps

MAYBE = st.none() | st.integers(1, 1000)
CAPS = st.builds(Caps, max_prompt_tokens=MAYBE, max_output_tokens=MAYBE)
ASKED = st.none() | st.integers(0, 1000)
CHOICES = st.integers(1, 20)


@pytest.mark.parametrize(
    ("max_tokens", "num_choices", "part"),
    [
        (None, 1, None),
        (100, 1, None),
        (50, 2, None),
        (0, 100, None),
        (101, 1, "101 output tokens"),
        (51, 2, "for each of 2 choices"),
        (None, 101, "101 answers are asked for"),
    ],
)
def test_more_output_than_the_cap_is_refused_with_a_sentence(max_tokens, num_choices, part):
    said = refusal(Caps(max_output_tokens=100), max_tokens=max_tokens, num_choices=num_choices)
    assert (said is None) == (part is None)
    assert part is None or part in said


def test_no_cap_refuses_nothing():
    assert refusal(Caps(), max_tokens=10**9, num_choices=10**9) is None


@given(CAPS, ASKED, CHOICES)
def test_what_is_written_for_servers_without_caps_keeps_to_the_cap(caps, max_tokens, num_choices):
    if refusal(caps, max_tokens=max_tokens, num_choices=num_choices) is not None:
        return
    written = output_limit(caps, max_tokens=max_tokens, num_choices=num_choices)
    if caps.max_output_tokens is None:
        assert written is None
    else:
        assert written * num_choices <= caps.max_output_tokens
        assert max_tokens is None or written == max_tokens


@given(CAPS, CAPS)
def test_the_tighter_of_two_keeps_to_both_and_to_no_more(one, other):
    both = tighter(one, other)
    for name in ("max_prompt_tokens", "max_output_tokens"):
        given_caps = [cap for cap in (getattr(one, name), getattr(other, name)) if cap is not None]
        assert getattr(both, name) == min(given_caps, default=None)


@given(CAPS, ASKED, CHOICES, st.integers(0, 10**6))
def test_an_estimate_covers_the_prompt_and_what_is_asked_for(caps, max_tokens, num_choices, size):
    found = estimate(caps, num_prompt_bytes=size, max_tokens=max_tokens, num_choices=num_choices)
    output = found - prompt_estimate(size)
    assert prompt_estimate(size) * 4 >= size
    if max_tokens is not None:
        assert output == max_tokens * num_choices
    else:
        assert 0 < output <= max(num_choices, min(512 * num_choices, 10**9))
