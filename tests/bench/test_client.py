"""One request against a server that does exactly what the test says."""

from contextlib import asynccontextmanager

import pytest

from bench_server import (
    DONE,
    Script,
    ScriptedServer,
    completion,
    event,
    refusal,
    token,
    usage,
)
from pagelet_bench.client import Endpoint, complete, new_session
from pagelet_bench.core.dialect import Dialect
from pagelet_bench.core.result import Outcome
from pagelet_bench.core.workload import PlannedRequest
from pagelet_bench.server_process import free_port

EXACT = Dialect(ignore_eos=True, min_tokens=True)
REQUEST = PlannedRequest(7, 0.0, (300, 301, 302), 4)
PATIENCE_S = 20.0


async def send(url, *, timeout_s=PATIENCE_S, dialect=EXACT, request=REQUEST, api_key=None):
    async with new_session(api_key) as session:
        endpoint = Endpoint(base_url=url, model="m", dialect=dialect)
        return await complete(session, endpoint, request, timeout_s=timeout_s)


@asynccontextmanager
async def answering(*steps, **fields):
    async with ScriptedServer(lambda body: Script(steps, **fields)).listening() as server:
        yield server


async def outcome_of(*steps, **fields):
    async with answering(*steps, **fields) as server:
        result = await send(server.url)
        return result.outcome, result.detail


async def test_known_delays_are_what_is_measured():
    script = ScriptedServer(lambda body: completion(body, first_s=0.2, gap_s=0.1))
    async with script.listening() as server:
        result = await send(server.url)
    assert result.outcome is Outcome.OK
    assert 0.2 <= result.ttft_s < 1.0
    assert len(result.gaps_s) == 3
    assert all(0.05 <= gap < 1.0 for gap in result.gaps_s)
    assert sum(result.gaps_s) == pytest.approx(0.3, abs=0.5)
    assert result.e2e_s >= 0.5
    assert (result.index, result.prompt_tokens, result.output_tokens) == (7, 3, 4)


async def test_the_request_asks_for_a_greedy_stream_of_exact_length():
    async with ScriptedServer(completion).listening() as server:
        await send(server.url)
    assert server.bodies == [
        {
            "model": "m",
            "prompt": [300, 301, 302],
            "max_tokens": 4,
            "min_tokens": 4,
            "ignore_eos": True,
            "temperature": 0.0,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
    ]


async def test_a_plain_endpoint_gets_openai_fields_only():
    async with ScriptedServer(completion).listening() as server:
        await send(server.url, dialect=Dialect(ignore_eos=False, min_tokens=False))
    assert not {"ignore_eos", "min_tokens"} & set(server.bodies[0])


async def test_a_key_is_sent_as_bearer_token_and_none_is_not():
    async with ScriptedServer(completion).listening() as server:
        await send(server.url, api_key="secret")
        await send(server.url)
    assert "Authorization: Bearer secret" in server.headers[0]
    assert "Authorization" not in server.headers[1]


async def test_usage_outranks_the_number_of_events():
    async with answering(token(), token(finish="stop"), usage(9, 11), DONE) as server:
        result = await send(server.url)
    assert (result.prompt_tokens, result.output_tokens) == (9, 11)


async def test_without_usage_events_are_counted():
    async with answering(token(), token(finish="stop"), DONE) as server:
        result = await send(server.url)
    assert (result.prompt_tokens, result.output_tokens) == (3, 2)


async def test_events_cut_anywhere_by_the_network_are_the_same_events():
    whole = token("é") + b": note\r\n\r\n" + token(finish="stop") + usage(3, 2) + DONE
    pieces = [step for byte in range(len(whole)) for step in (whole[byte : byte + 1], 0.0)]
    async with answering(*pieces) as server:
        result = await send(server.url)
    assert (result.outcome, len(result.token_times_s)) == (Outcome.OK, 2)


@pytest.mark.parametrize("first_s", [60.0, 0.0])
async def test_a_stall_before_or_within_the_stream_is_a_time_out(first_s):
    async with answering(first_s, token(), 60.0, token(finish="stop"), DONE) as server:
        result = await send(server.url, timeout_s=0.5)
    assert result.outcome is Outcome.TIMED_OUT
    assert "after 0.5 s" in result.detail
    assert len(result.token_times_s) == (0 if first_s else 1)
    assert 0.5 <= result.e2e_s < 10


async def test_a_refusal_carries_its_status_and_sentence():
    async with ScriptedServer(lambda body: refusal(429, "queue is full")).listening() as server:
        result = await send(server.url)
    assert (result.outcome, result.detail) == (Outcome.REFUSED, "HTTP 429: queue is full")


async def test_a_refusal_that_is_not_json_is_shown_as_it_is():
    found = await outcome_of(b"<h1>Bad gateway</h1>", status=502, content_type="text/html")
    assert found == (Outcome.REFUSED, "HTTP 502: <h1>Bad gateway</h1>")


async def test_a_redirect_is_not_followed():
    found, detail = await outcome_of(b"", status=307, location="http://127.0.0.1:9/elsewhere")
    assert (found, detail[:8]) == (Outcome.REFUSED, "HTTP 307")


async def test_an_error_in_the_stream_is_an_error():
    failure = event({"error": {"message": "engine died", "type": "server_error"}})
    assert await outcome_of(token(), failure, DONE) == (Outcome.ERROR, "engine died")


async def test_a_connection_that_breaks_within_the_stream_is_a_cut():
    found, detail = await outcome_of(token(), breaks=True)
    assert found is Outcome.CUT
    assert detail


async def test_a_stream_that_ends_politely_but_early_is_a_cut():
    assert (await outcome_of(token(), token()))[0] is Outcome.CUT
    assert (await outcome_of(token(finish="stop")))[0] is Outcome.CUT


async def test_wrong_content_is_malformed():
    found, detail = await outcome_of(b"{}", content_type="application/json")
    assert (found, "application/json" in detail) == (Outcome.MALFORMED, True)
    assert (await outcome_of(b"data: hello\n\n"))[0] is Outcome.MALFORMED
    assert (await outcome_of(b"data: " + b"x" * 2_000_000))[0] is Outcome.MALFORMED


async def test_nobody_listening_is_unreachable():
    result = await send(f"http://127.0.0.1:{free_port()}")
    assert result.outcome is Outcome.UNREACHABLE
    assert result.detail
