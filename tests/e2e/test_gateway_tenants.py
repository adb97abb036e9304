"""A gateway with tenants before a real engine server that believes it."""

import json
import re

import aiohttp
import pytest

from gateway_process import GatewayProcess, model, post, samples
from gateway_tenants import bearer, by_tenant, code, tenant
from server_process import echo_server

PATH = "/v1/chat/completions"
KEY, GATEWAY_KEY = "red-key-0123456789", "sk-is-the-gateway---"
JSON = {"content_type": "application/json"}
RED = bearer(KEY) | JSON
ASK = {"model": "echo", "messages": [{"role": "user", "content": "abc"}], "max_tokens": 6}


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """A gateway and its engine."""
    folder = tmp_path_factory.mktemp("pair")
    (folder / "key").write_text(GATEWAY_KEY)
    listen = {"gateway_key_file": str(folder / "key")}
    with echo_server(listen=listen) as engine, GatewayProcess(folder) as gateway:
        url = engine.wait_ready()
        gateway.apply(
            model(
                "echo",
                {"e-1": (100, [url])},
                gatewayKey=GATEWAY_KEY,
                tenants=[tenant("red", KEY, tokensPerMinute=100_000)],
                limits={"maxPromptTokens": 60, "maxOutputTokens": 12},
            )
        )
        yield gateway, url
        assert gateway.stop() == 0


@pytest.fixture
async def session():
    async with aiohttp.ClientSession() as made:
        yield made


async def test_streamed_and_whole_answers_cost_what_the_engine_counts(pair, session):
    gateway, _ = pair
    _, whole, _ = await post(session, gateway.url + PATH, ASK, **RED)
    found = re.search(rb'"total_tokens":(\d+)', whole)
    assert found is not None
    each = int(found[1])
    status, body, _ = await post(session, gateway.url + PATH, {**ASK, "stream": True}, **RED)
    assert (status, b"usage" in body) == (200, False)
    assert tokens_of(body)
    await samples(session, gateway, "requests_total")
    assert (await by_tenant(session, gateway, "tokens_total"))["echo:red"] == 2 * each


def tokens_of(stream: bytes) -> int:
    """How many events a whole stream has."""
    assert stream.endswith(b"data: [DONE]\n\n")
    return stream.count(b"data: ") - 1


async def test_a_client_sees_the_stream_as_the_engine_sends_it_to_its_clients(pair, session):
    gateway, engine = pair
    ask = {**ASK, "stream": True, "stream_options": {"include_usage": True}}
    _, through, _ = await post(session, gateway.url + PATH, ask, **RED)
    _, direct, _ = await post(
        session, engine + PATH, ask, x_pagelet_gateway_key=GATEWAY_KEY, **JSON
    )
    assert b"pagelet-usage" not in through
    assert heard(through) == heard(direct)


def heard(stream: bytes) -> tuple[str, list[object], list[str]]:
    """Text, usage and kinds of lines; how tokens share events is a matter of time."""
    lines = [line for line in stream.decode().split("\n") if line]
    chunks = [json.loads(line.removeprefix("data: ")) for line in lines[:-1]]
    choices = [choice for chunk in chunks for choice in chunk["choices"]]
    text = "".join(choice["delta"].get("content") or "" for choice in choices)
    used = [chunk["usage"] for chunk in chunks if chunk["usage"]]
    assert text
    return text, used, sorted({line.partition(":")[0] for line in lines}) + lines[-1:]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"messages": [{"role": "user", "content": "x" * 80}]}, "prompt_too_long"),
        ({"max_tokens": 13}, "output_cap_exceeded"),
        ({"max_tokens": 7, "n": 2}, "output_cap_exceeded"),
    ],
)
async def test_caps_hold_through_gateway_and_engine(pair, session, fields, said):
    gateway, _ = pair
    status, body, _ = await post(session, gateway.url + PATH, {**ASK, **fields}, **RED)
    assert (status, code(body)) == (400, said)


async def test_a_request_that_names_no_number_is_held_to_the_cap(pair, session):
    gateway, _ = pair
    ask = {name: value for name, value in ASK.items() if name != "max_tokens"}
    _, body, _ = await post(session, gateway.url + PATH, ask, **RED)
    found = re.search(rb'"completion_tokens":(\d+)', body)
    assert found is not None
    assert 1 <= int(found[1]) <= 12
