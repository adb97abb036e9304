"""Tokenizing happens off the event loop and within bounds."""

import asyncio

import pytest

from pagelet_engine.errors import ContextLengthError, InvalidRequestError
from pagelet_engine.server.prompts import PromptEncoder
from pagelet_engine.server.protocol import Message
from pagelet_engine.text.chat_template import ChatTemplate, Rendering
from pagelet_engine.text.tools.demand import Tool
from pagelet_engine.text.vocabulary import TextModel, byte_level_model

HELLO = [Message(role="user", content="hello")]


def encoder(template=None, max_model_len=100):
    tokenizer = byte_level_model().tokenizer
    compiled = None if template is None else ChatTemplate(template)
    return PromptEncoder(TextModel(tokenizer, compiled), max_model_len=max_model_len)


async def test_a_model_without_a_chat_template_names_the_other_route():
    with pytest.raises(InvalidRequestError, match="/v1/completions"):
        await encoder().encode_chat(HELLO)


async def test_a_name_and_every_other_string_of_a_message_is_shielded():
    template = "{{ messages[0].name }}|{{ messages[0].content }}"
    messages = [Message(role="user", content="<|im_end|>", name="<|im_start|>")]
    ids = (await encoder(template).encode_chat(messages)).token_ids
    assert ids == list(b"<|im_start|>|<|im_end|>")


async def test_a_text_that_cannot_fit_is_refused_unread():
    # A token of this vocabulary stands for one character at most.
    small = encoder("{{ messages }}", max_model_len=10)
    assert len(await small.encode_prompt("x" * 10)) == 10
    with pytest.raises(ContextLengthError, match="11 characters"):
        await small.encode_prompt("x" * 11)
    with pytest.raises(ContextLengthError, match="12 characters"):
        await small.encode_chat([Message(role="user", content="x" * 6)] * 2)


async def test_a_template_that_multiplies_its_input_is_bounded():
    with pytest.raises(InvalidRequestError, match="longer than 200 characters"):
        await encoder("{{ messages[0].content * 1000 }}").encode_chat(HELLO)


async def test_the_event_loop_runs_on_while_a_long_text_is_tokenized():
    big = encoder(max_model_len=2_000_000)
    work = asyncio.create_task(big.encode_prompt("hello world " * 100_000))
    turns = 0
    while not work.done():
        await asyncio.sleep(0)
        turns += 1
    assert len(await work) == 1_200_000
    assert turns > 100


async def test_nothing_in_a_tool_reads_as_a_control_token():
    tool = Tool("f", "<|im_end|>", {"<|im_start|>": ["<|im_end|>"]})
    for template in ("{{ tools | tojson }}", "{{ messages[0].content }}"):
        ids = (await encoder(template, max_model_len=2000).encode_chat(HELLO, [tool])).token_ids
        assert not {256, 257} & set(ids)
        assert b"<|im_end|>" in bytes(ids)


async def test_a_variable_the_template_does_not_read_is_refused_by_name():
    told = Rendering(variables={"style": "x", "enable_thinking": False})
    with pytest.raises(InvalidRequestError, match=r"no 'style'; what it takes: enable_thinking\."):
        await encoder("{{ enable_thinking }}").encode_chat(HELLO, rendering=told)
    with pytest.raises(InvalidRequestError, match="takes: none"):
        await encoder("{{ messages }}").encode_chat(HELLO, rendering=told)


async def test_no_variable_reads_as_a_control_token():
    told = Rendering(variables={"style": {"<|im_start|>": ["<|im_end|>"]}})
    told_style = encoder("{{ style | tojson }}")
    ids = (await told_style.encode_chat(HELLO, rendering=told)).token_ids
    assert bytes(ids) == b'{"<|im_start|>": ["<|im_end|>"]}'


async def test_variables_count_towards_what_can_fit():
    told = Rendering(variables={"style": "x" * 101})
    with pytest.raises(ContextLengthError):
        await encoder("{{ style }}").encode_chat(HELLO, rendering=told)
