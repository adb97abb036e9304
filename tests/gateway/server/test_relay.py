import asyncio
import json

import aiohttp
import openai
import pytest

from gateway_process import WAIT_S, model, post, samples, tokens
from gateway_upstream import Upstream, Wire, answers, event, streams

PATH = "/v1/chat/completions"
ASK = {"model": "m", "stream": True}


async def test_each_part_is_passed_on_before_the_next_is_made(gateway, session):
    """The engine makes a token only once the client has read the last: buffering would hang."""
    go = asyncio.Semaphore(1)

    async def in_step(wire: Wire) -> None:
        await wire.start_stream()
        for number in range(30):
            async with asyncio.timeout(WAIT_S):
                await go.acquire()
            await wire.token(f"{number} ")
        await wire.end_stream()

    async with Upstream(in_step) as engine:
        gateway.apply(model("m", {"m-1": (100, [engine.url])}))
        async with session.post(gateway.url + PATH, json=ASK) as answer:
            assert answer.headers["content-type"] == "text/event-stream"
            assert answer.headers["x-pagelet-revision"] == "m-1"
            whole = b""
            async for part in answer.content.iter_any():
                whole += part
                go.release()
        assert tokens(whole) == "".join(f"{number} " for number in range(30))


async def test_a_slow_reader_slows_the_engine_and_nothing_piles_up(gateway):
    made_bytes = 0

    async def floods(wire: Wire) -> None:
        nonlocal made_bytes
        await wire.start_stream()
        for _ in range(20_000):
            await wire.token("x" * 4000)
            made_bytes += 4000

    async with Upstream(floods) as engine:
        gateway.apply(model("m", {"m-1": (100, [engine.url])}))
        async with (
            aiohttp.ClientSession(read_bufsize=1024) as session,
            session.post(gateway.url + PATH, json=ASK) as answer,
        ):
            await answer.content.readany()
            before = -1
            while made_bytes != before:  # until the engine is held up
                before = made_bytes
                await asyncio.sleep(0.3)
            # All that lies between: socket buffers, and two reads in the gateway.
            assert made_bytes < 30_000_000
            answer.close()
        async with asyncio.timeout(WAIT_S):
            await engine.abandoned.wait()


async def breaks_in_the_stream(wire: Wire) -> None:
    await wire.start_stream()
    await wire.token("a")
    await asyncio.sleep(0.1)
    wire.reset()


async def breaks_in_an_event(wire: Wire) -> None:
    await wire.start_stream()
    await wire.part(event("a") + event("b")[:-9])
    await asyncio.sleep(0.1)
    wire.reset()


async def ends_without_done(wire: Wire) -> None:
    await wire.start_stream()
    await wire.token("a")
    await wire.end_stream(done=False)


async def ends_without_the_last_chunk(wire: Wire) -> None:
    await wire.start_stream()
    await wire.token("a")
    await wire.raw(b"ff\r\ndata: ")
    await asyncio.sleep(0.1)
    wire.reset()


async def never_ends_a_line(wire: Wire) -> None:
    await wire.start_stream()
    await wire.token("a")
    await asyncio.sleep(0.1)
    while True:
        await wire.part(b"x" * 65536)


async def breaks_the_chunking(wire: Wire) -> None:
    await wire.start_stream()
    await wire.token("a")
    await asyncio.sleep(0.1)
    await wire.raw(b"not a chunk size\r\n")


BROKEN = [
    (breaks_in_the_stream, "stream_upstream_died"),
    (breaks_in_an_event, "stream_upstream_died"),
    (ends_without_done, "stream_incomplete"),
    (ends_without_the_last_chunk, "stream_upstream_died"),
    (never_ends_a_line, "stream_oversized_event"),
    (breaks_the_chunking, "stream_upstream_died"),
]


@pytest.mark.parametrize(("script", "code"), BROKEN)
async def test_a_broken_stream_ends_with_an_error_event_and_never_done(
    gateway, session, script, code
):
    async with Upstream(script) as engine, Upstream(streams("x ", "y", pause_s=0.2)) as other:
        gateway.apply(
            model("m", {"m-1": (100, [engine.url])}), model("other", {"o-1": (100, [other.url])})
        )
        bystander = asyncio.create_task(
            post(session, gateway.url + PATH, {"model": "other", "stream": True})
        )
        status, body, _ = await post(session, gateway.url + PATH, ASK)
        assert status == 200
        assert b"[DONE]" not in body
        events = body.strip().split(b"\n\n")
        assert events[0] == event("a").strip()
        assert len(events) == 2
        error = json.loads(events[1].removeprefix(b"data: "))["error"]
        assert error["code"] == code
        assert "127.0.0.1" not in error["message"]
        assert tokens((await bystander)[1]) == "x y"


async def test_the_official_client_raises_on_a_broken_stream(gateway):
    async with Upstream(breaks_in_an_event) as engine:
        gateway.apply(model("m", {"m-1": (100, [engine.url])}))
        async with openai.AsyncOpenAI(base_url=gateway.url + "/v1", api_key="none") as client:
            stream = await client.chat.completions.create(
                model="m", messages=[{"role": "user", "content": "x"}], stream=True
            )
            assert (await anext(stream)).choices[0].delta.content == "a"
            with pytest.raises(openai.APIError, match="went away"):
                await anext(stream)


async def test_an_engines_own_error_event_is_the_end(gateway, session):
    async def fails(wire: Wire) -> None:
        await wire.start_stream()
        await wire.token("a")
        await wire.part(b'data: {"error": {"message": "NaN", "code": "nan"}}\n\n')
        await wire.end_stream(done=False)

    async with Upstream(fails) as engine:
        gateway.apply(model("m", {"m-1": (100, [engine.url])}))
        _, body, _ = await post(session, gateway.url + PATH, ASK)
        assert body.count(b'"error"') == 1
        assert b"NaN" in body


@pytest.mark.parametrize("framing", ["sized", "chunked"])
async def test_a_truncated_whole_answer_is_no_success(gateway, session, framing):
    async def dies(wire: Wire) -> None:
        if framing == "sized":
            await wire.head(200, content_type="application/json", content_length="1000")
            await wire.raw(b'{"id": 1')
        else:
            await wire.head(200, content_type="application/json", transfer_encoding="chunked")
            await wire.part(b'{"id": 1')
        await asyncio.sleep(0.1)
        wire.reset()

    async with Upstream(dies) as engine:
        gateway.apply(model("m", {"m-1": (100, [engine.url])}))
        with pytest.raises(aiohttp.ClientPayloadError):
            await post(session, gateway.url + PATH, {"model": "m"})


@pytest.mark.parametrize("status", [400, 404, 429, 500, 503])
async def test_an_engines_refusal_is_passed_on_as_it_is(gateway, session, status):
    refusal = {"error": {"message": "no", "type": "t", "param": "p", "code": "c"}}

    async def refuses(wire: Wire) -> None:
        await wire.reply(status, refusal, retry_after="7")

    async with Upstream(refuses) as engine:
        gateway.apply(model("m", {"m-1": (100, [engine.url])}))
        answered, body, headers = await post(session, gateway.url + PATH, {"model": "m"})
        assert (answered, json.loads(body)) == (status, refusal)
        assert headers["retry-after"] == "7"
        assert headers["x-pagelet-revision"] == "m-1"
        assert len(engine.received) == 1


async def test_an_empty_answer_is_passed_on(gateway, session):
    async def nothing(wire: Wire) -> None:
        await wire.head(200, content_type="text/plain", content_length="0")

    async with Upstream(nothing) as engine:
        gateway.apply(model("m", {"m-1": (100, [engine.url])}))
        status, body, _ = await post(session, gateway.url + PATH, {"model": "m"})
        assert (status, body) == (200, b"")


async def test_connections_to_engines_are_used_again(gateway, session):
    async with Upstream(answers) as engine:
        gateway.apply(model("m", {"m-1": (100, [engine.url])}))
        for _ in range(10):
            await post(session, gateway.url + PATH, ASK)
        # A second one if a question for the queue was under way when a request came.
        assert engine.num_connections <= 2


@pytest.mark.parametrize(
    ("said", "outcome", "after"),
    [
        ({"type": "server_error", "code": "generation_failed"}, "cut", 503),
        ("dead", "cut", 503),
        ({"type": "server_error", "code": "deadline_exceeded"}, "timeout", 200),
        ({"type": "invalid_request_error", "code": "invalid_value"}, "client_error", 200),
        ({"type": "BadRequestError", "code": 400}, "client_error", 200),
    ],
)
async def test_an_answer_that_ends_with_an_error_event_is_no_good_answer(
    gateway, session, said, outcome, after
):
    async def fails(wire: Wire) -> None:
        await wire.start_stream()
        await wire.token("a")
        await wire.part(b"data: " + json.dumps({"error": said}).encode() + b"\n\n")
        await wire.end_stream(done=False)

    async with Upstream(fails) as engine:
        breaker = {"consecutiveErrors": 2, "openForSeconds": 30}
        name = f"{outcome} {said}".replace('"', "").replace("'", "")
        gateway.apply(model(name, {"m-1": (100, [engine.url])}, circuitBreaker=breaker))
        ask = {"model": name, "stream": True}
        for _ in range(2):
            status, body, _ = await post(session, gateway.url + PATH, ask)
            assert (status, body.count(b'error":'), b"[DONE]" in body) == (200, 1, False)
        assert (await post(session, gateway.url + PATH, ask))[0] == after
        counted = await samples(session, gateway, "requests_total")
        assert counted[f"{name}:{outcome}"] == len(engine.received)
        assert not counted[f"{name}:ok"]
