"""A planned request is put as the endpoint understands it, with its conversation."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagelet_bench.core.dialect import DIALECTS, WORDS, Dialect, Form, Turn, body, words
from pagelet_bench.core.dialect import planned_prompt as planned
from pagelet_bench.core.workload import PlannedRequest

FIRST = PlannedRequest(0, 0.0, (300, 301), 3)
SECOND = PlannedRequest(1, 0.0, (302,), 4, turn=1)
HISTORY = [Turn(FIRST, "said before")]


def dialect(form, **fields):
    return Dialect(**({"form": form, "ignore_eos": False, "min_tokens": False} | fields))


def test_a_chat_repeats_what_was_asked_and_answered():
    sent = body(dialect(Form.CHAT), "m", SECOND, HISTORY)
    assert [message["role"] for message in sent["messages"]] == ["user", "assistant", "user"]
    assert sent["messages"][1]["content"] == "said before"
    assert sent["messages"][2]["content"] == words((302,))
    assert "prompt" not in sent


def test_text_repeats_what_was_asked_and_answered():
    sent = body(dialect(Form.TEXT), "m", SECOND, HISTORY)
    assert sent["prompt"] == f"{words((300, 301))} said before {words((302,))}"


def test_token_ids_begin_with_those_of_the_turns_before():
    sent = body(dialect(Form.TOKEN_IDS), "m", SECOND, HISTORY)
    assert sent["prompt"][:2] == [300, 301]
    assert sent["prompt"][-1] == 302
    assert len(sent["prompt"]) == planned(SECOND, HISTORY) == 2 + 3 + 1


def test_a_strict_endpoint_gets_nothing_that_it_refuses():
    sent = body(dialect(Form.CHAT, is_strict=True), "m", FIRST)
    assert sent["max_completion_tokens"] == 3
    assert not {"temperature", "max_tokens", "ignore_eos", "min_tokens"} & set(sent)


@pytest.mark.parametrize("form", Form)
def test_the_most_exact_dialect_of_a_form_is_tried_first(form):
    mine = [d for d in DIALECTS if d.form is form]
    exactness = [d.ignore_eos + d.min_tokens - d.is_strict for d in mine]
    assert exactness == sorted(exactness, reverse=True)
    assert exactness[0] == 2


@given(st.lists(st.integers(0, 100_000), min_size=1, max_size=50))
def test_every_id_is_one_word(ids):
    assert len(words(ids).split()) == len(ids)
    assert set(words(ids).split()) <= set(WORDS)
