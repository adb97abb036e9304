"""What is counted of a request that ended, at a real gateway."""

import asyncio
import json

from gateway_process import GatewayProcess, model, post
from gateway_upstream import Upstream, Wire, event

PATH = "/v1/chat/completions"
USAGE = {"prompt_tokens": 300, "completion_tokens": 20}


async def tells(wire: Wire) -> None:
    """Say what was used, in a whole answer or at the end of a stream."""
    if not json.loads(wire.received.body).get("stream"):
        await wire.reply(200, {"choices": [], "usage": USAGE})
        return
    await wire.start_stream()
    await wire.part(event("word"))
    await wire.part(b'data: {"choices":[],"usage":' + json.dumps(USAGE).encode() + b"}\n\n")
    await wire.end_stream()


async def tells_nothing(wire: Wire) -> None:
    """Answer without a word of what was used."""
    await wire.reply(200, {"choices": []})


async def refuses(wire: Wire) -> None:
    """Say what is wrong with the request."""
    await wire.reply(400, {"error": {"message": "no"}, "usage": USAGE})


async def lengths(gateway: GatewayProcess, session, name: str) -> list[str]:
    async with session.get(gateway.url + "/metrics") as answer:
        lines = (await answer.text()).splitlines()
    return [line for line in lines if f'model="{name}"' in line and "_tokens_bucket" in line]


def counted(lines: list[str], series: str, bound: str) -> int:
    line = next(line for line in lines if line.startswith(series) and f'le="{bound}"' in line)
    return int(float(line.rpartition(" ")[2]))


async def settled(gateway: GatewayProcess, session, name: str, requests: int) -> list[str]:
    """Wait until so many requests have ended for the gateway, too, and return the lengths."""
    while True:
        async with session.get(gateway.url + "/metrics") as answer:
            text = await answer.text()
        ended = [
            float(line.rpartition(" ")[2])
            for line in text.splitlines()
            if line.startswith("pagelet_gateway_requests_total") and f'model="{name}"' in line
        ]
        if sum(ended) >= requests:
            return await lengths(gateway, session, name)
        await asyncio.sleep(0.01)


async def test_lengths_are_counted_as_the_engine_tells_them(gateway, session):
    async with Upstream(tells) as engine:
        gateway.apply(model("told", {"told-1": (100, [engine.url])}))
        for stream in (True, False):
            await post(session, gateway.url + PATH, {"model": "told", "stream": stream})
        found = await settled(gateway, session, "told", 2)
    for series, below, above in (
        ("pagelet_gateway_prompt_tokens", "256.0", "512.0"),
        ("pagelet_gateway_output_tokens", "16.0", "32.0"),
    ):
        assert (counted(found, series, below), counted(found, series, above)) == (0, 2)


async def test_what_is_not_told_or_was_refused_has_no_length(gateway, session):
    for name, script in (("silent", tells_nothing), ("wrong", refuses)):
        async with Upstream(script) as engine:
            gateway.apply(model(name, {f"{name}-1": (100, [engine.url])}))
            await post(session, gateway.url + PATH, {"model": name})
            assert await settled(gateway, session, name, 1) == []


async def test_every_token_after_the_first_has_a_time_whatever_comes_together(gateway, session):
    async def three_pieces(wire: Wire) -> None:
        await wire.start_stream()
        await wire.part(event("a") + event("b") + event("c"))
        await wire.part(event("d"))
        await wire.part(event("e") + event("f"))
        await wire.end_stream()

    async with Upstream(three_pieces) as engine:
        gateway.apply(model("pieces", {"pieces-1": (100, [engine.url])}))
        await post(session, gateway.url + PATH, {"model": "pieces", "stream": True})
        await settled(gateway, session, "pieces", 1)
    async with session.get(gateway.url + "/metrics") as answer:
        lines = (await answer.text()).splitlines()
    times = [
        line
        for line in lines
        if 'model="pieces"' in line and "_inter_token_latency_seconds_bucket" in line
    ]
    assert counted(times, "pagelet_gateway", "+Inf") == 5
