"""Which answers are made off the event loop; what streams say is tested by route."""

import threading

from pagelet_engine.core.logprobs import TokenLogprobs
from pagelet_engine.server.sse import unhurried
from pagelet_engine.server.text_stream import TextDelta, TokenScore, score_count

TOP = tuple((token_id, -1.0) for token_id in range(20))
SCORED = TokenLogprobs(1, -0.5, 1, TOP)


def delta(num_output=0, num_prompt=0):
    tokens = tuple(TokenScore(1, 0, SCORED) for _ in range(num_output))
    return TextDelta("a", tokens=tokens, prompt=(SCORED,) * num_prompt)


def test_scores_are_counted_with_their_alternatives():
    assert score_count(TextDelta("a" * 1000)) == 0
    assert score_count(delta(num_output=2, num_prompt=3)) == 5 * 21
    assert score_count(TextDelta("a", tokens=(TokenScore(1, 0, None),))) == 0


async def test_what_would_hold_up_other_streams_is_made_on_a_thread_and_the_rest_is_not():
    loop = threading.get_ident()
    assert await unhurried([TextDelta("a" * 10**6)], threading.get_ident) == loop
    assert await unhurried([delta(num_output=10)], threading.get_ident) == loop
    assert await unhurried([delta(num_prompt=1000)], threading.get_ident) != loop
    assert await unhurried([delta(num_output=10)] * 100, threading.get_ident) != loop
