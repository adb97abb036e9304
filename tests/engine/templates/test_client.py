"""The template worker as the API process sees it: real processes, templates that misbehave."""

import asyncio
import contextlib
import os
import signal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pagelet_engine.errors import InvalidRequestError, ProtocolError, UnavailableError
from pagelet_engine.templates import client as client_module
from pagelet_engine.templates.client import TemplateClient
from pagelet_engine.templates.wire import (
    Conversation,
    decode_answer,
    decode_template,
    encode_conversation,
    encode_template,
    render,
)
from pagelet_engine.text.chat_template import ChatTemplate, Rendering
from pagelet_engine.text.vocabulary import CHATML

ENDLESS = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
GREEDY = "{% set a = messages[0].content * 99999999 %}{{ a | length }}"
BY_CONTENT = "{% if messages[0].content == 'endless' %}" + ENDLESS + "{% endif %}" + CHATML


def conversation(text="hello", **changes):
    fields = {
        "messages": [{"role": "user", "content": text}],
        "tools": [],
        "rendering": Rendering(),
        "max_chars": 10_000,
    }
    return Conversation(**fields | changes)


def frame(text="hello", **changes):
    return encode_conversation(conversation(text, **changes))


@contextlib.asynccontextmanager
async def running(template=CHATML, **tokens):
    client = TemplateClient(ChatTemplate(template, **tokens))
    try:
        yield client
    finally:
        await client.stop()


HELLO = "<|im_start|>user\nhello<|im_end|>\n<|im_start|>assistant\n"


async def test_conversations_are_rendered_one_after_the_other_by_one_process():
    async with running() as client:
        assert client.worker_pid is None
        await client.start()
        pid = client.worker_pid
        texts = await asyncio.gather(*(client.render(frame(str(n))) for n in range(20)))
        assert [text.split("\n")[1] for text in texts] == [f"{n}<|im_end|>" for n in range(20)]
        assert (client.worker_pid, client.num_workers) == (pid, 1)


async def test_what_a_template_says_of_a_conversation_reaches_the_client():
    template = "{{ raise_exception('roles must alternate') }}"
    async with running(template) as client:
        with pytest.raises(InvalidRequestError, match="roles must alternate") as raised:
            await client.render(frame())
        assert raised.value.param == "messages"
        with pytest.raises(InvalidRequestError, match="alternate"):
            await client.render(frame())
        assert client.num_workers == 1


async def test_a_template_without_end_is_ended_and_those_who_wait_are_served():
    async with running(BY_CONTENT) as client:
        stuck = asyncio.create_task(client.render(frame("endless")))
        waiting = asyncio.create_task(client.render(frame()))
        with pytest.raises(InvalidRequestError, match="takes longer than 2 s"):
            await stuck
        assert await waiting == HELLO
        assert client.num_workers == 2


async def test_a_template_that_takes_all_memory_is_ended():
    async with running(GREEDY) as client:
        with pytest.raises(InvalidRequestError, match="too much memory"):
            await client.render(frame("x" * 100))
        assert await client.render(frame("")) == "0"


async def test_a_worker_that_stands_still_is_replaced(monkeypatch):
    monkeypatch.setattr(client_module, "WALL_LIMIT_S", 0.2)
    monkeypatch.setattr(client_module, "_EXIT_GRACE_S", 0.05)
    async with running() as client:
        await client.start()
        os.kill(client.worker_pid, signal.SIGSTOP)
        with pytest.raises(InvalidRequestError):
            await client.render(frame())
        monkeypatch.setattr(client_module, "WALL_LIMIT_S", 60.0)
        assert await client.render(frame()) == HELLO


async def test_a_killed_worker_is_a_503_at_worst_and_replaced():
    async with running() as client:
        assert await client.render(frame()) == HELLO
        os.kill(client.worker_pid, signal.SIGKILL)
        with contextlib.suppress(UnavailableError):  # if the death has not been noticed yet
            await client.render(frame())
        assert await client.render(frame()) == HELLO
        assert client.num_workers == 2


async def test_who_leaves_does_not_shift_the_answers():
    async with running() as client:
        await client.start()
        left = asyncio.create_task(client.render(frame("left")))
        await asyncio.sleep(0)
        left.cancel()
        assert await client.render(frame()) == HELLO
        assert client.num_workers == 1


async def test_a_stopped_client_refuses_and_leaves_no_process():
    async with running(BY_CONTENT) as client:
        await client.start()
        pid = client.worker_pid
        waiting = [asyncio.create_task(client.render(frame("endless"))) for _ in range(3)]
        await asyncio.sleep(0)
        await client.stop()
        outcomes = await asyncio.gather(*waiting, return_exceptions=True)
        assert {type(outcome) for outcome in outcomes} == {UnavailableError}
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_signals_to_a_group_do_not_end_the_worker(number):
    async with running() as client:
        await client.render(frame())
        os.kill(client.worker_pid, number)
        assert await client.render(frame()) == HELLO
        assert client.num_workers == 1


texts = st.text(st.characters(codec=None), max_size=20)  # lone surrogates among them
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)


@settings(deadline=None, max_examples=60)
@given(text=texts, variables=st.dictionaries(st.sampled_from("xy"), values), tools=st.lists(values))
def test_the_process_boundary_changes_nothing_of_what_is_rendered(text, variables, tools):
    template = ChatTemplate("{{ bos_token }}{{ messages }}{{ tools }}{{ x }}{{ y }}", bos_token="é")
    asked = conversation(
        text, tools=tools, rendering=Rendering(variables=variables), max_chars=10**6
    )
    there = decode_template(encode_template(template)[4:])
    assert decode_answer(render(there, encode_conversation(asked)[4:])[4:]) == asked.render(
        template
    )


def test_bytes_that_are_no_answer_are_told_apart():
    with pytest.raises(ProtocolError):
        decode_answer(b"")
