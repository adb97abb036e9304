import json

from gateway_process import model, post
from gateway_upstream import Upstream

PATH = "/v1/chat/completions"
DOWN = "http://127.0.0.1:1"


async def test_a_fallbacks_engine_gets_its_own_key_and_the_tighter_caps(gateway, session):
    async with Upstream() as first, Upstream() as second:
        for url in (first.url, DOWN):
            gateway.apply(
                model(
                    "m",
                    {"m-1": (100, [url])},
                    fallback=[{"model": "n"}],
                    gatewayKey="key of m",
                    limits={"maxOutputTokens": 10, "maxPromptTokens": 500},
                ),
                model(
                    "n",
                    {"n-1": (100, [second.url])},
                    gatewayKey="key of n",
                    limits={"maxOutputTokens": 20, "maxPromptTokens": 100},
                ),
            )
            assert (await post(session, gateway.url + PATH, {"model": "m"}))[0] == 200
        own, other = first.received[0], second.received[0]
        assert own.headers["x-pagelet-gateway-key"] == "key of m"
        assert other.headers["x-pagelet-gateway-key"] == "key of n"
        assert own.headers["x-pagelet-max-prompt-tokens"] == "500"
        assert other.headers["x-pagelet-max-prompt-tokens"] == "100"
        assert other.headers["x-pagelet-max-output-tokens"] == "10"
        assert (json.loads(own.body)["model"], json.loads(other.body)["model"]) == ("m", "n")


async def test_a_cap_is_written_into_what_leaves(gateway, session):
    async with Upstream() as api:
        link = {"url": f"{api.url}/v1", "urlModel": "big"}
        gateway.apply(
            model("m", {"m-1": (100, [DOWN])}, fallback=[link], limits={"maxOutputTokens": 10})
        )
        for asked, sent in (
            ({}, {"max_completion_tokens": 10}),
            ({"max_tokens": 7}, {"max_tokens": 7}),
            ({"max_completion_tokens": 10}, {"max_completion_tokens": 10}),
        ):
            api.received.clear()
            body = {"model": "m"} | asked
            assert (await post(session, gateway.url + PATH, body))[0] == 200
            assert json.loads(api.received[0].body) == {"model": "big"} | sent
