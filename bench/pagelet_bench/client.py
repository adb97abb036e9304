"""Sends one planned request over HTTP and times what comes back.

Whatever happens to a request on the wire becomes a `RequestResult`; nothing is retried, since a
load generator that retries hides what it is there to measure.
"""

import json
import time
from asyncio import timeout
from collections.abc import Sequence
from dataclasses import dataclass

import aiohttp

from pagelet_bench.core.dialect import Dialect, Turn, body, planned_prompt
from pagelet_bench.core.result import Outcome, RequestResult
from pagelet_bench.core.sse import SseError, SseParser
from pagelet_bench.core.stream import CompletionStream, error_message
from pagelet_bench.core.workload import PlannedRequest

MAX_ERROR_BYTES = 16 * 1024
"""Most bytes read of a refusal's body; its first sentence is all that is shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where requests go. `base_url` has neither `/v1` nor a trailing slash."""

    base_url: str
    model: str
    dialect: Dialect


def new_session(api_key: str | None) -> aiohttp.ClientSession:
    """Open a session that limits nothing by itself: time-outs and concurrency are the load's."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
        headers={"Authorization": f"Bearer {api_key}"} if api_key else None,
    )


async def complete(
    session: aiohttp.ClientSession,
    endpoint: Endpoint,
    request: PlannedRequest,
    *,
    timeout_s: float,
    late_s: float = 0.0,
    history: Sequence[Turn] = (),
) -> RequestResult:
    """Send one request and follow its answer to the end, or to `timeout_s` seconds.

    Args:
        session: With the endpoint's key.
        endpoint: Where to.
        request: What to ask.
        timeout_s: Longest wait, seconds.
        late_s: How long ago it was due.
        history: The turns of its conversation before this one.
    """
    data = json.dumps(body(endpoint.dialect, endpoint.model, request, history)).encode()
    stream = CompletionStream()
    started_s = time.monotonic()
    outcome, detail = await _follow(session, endpoint, data, stream, timeout_s)
    return RequestResult(
        index=request.index,
        outcome=outcome,
        detail=detail,
        late_s=late_s,
        started_s=started_s,
        ended_s=time.monotonic(),
        token_times_s=tuple(stream.token_times_s),
        prompt_tokens=_first(stream.prompt_tokens, planned_prompt(request, history)),
        output_tokens=_first(stream.output_tokens, len(stream.token_times_s)),
        requested_tokens=request.output_tokens,
        turn=request.turn,
        text=stream.text,
    )


async def _follow(
    session: aiohttp.ClientSession,
    endpoint: Endpoint,
    data: bytes,
    stream: CompletionStream,
    timeout_s: float,
) -> tuple[Outcome, str]:
    has_begun = False
    try:
        async with (
            timeout(timeout_s),
            session.post(
                f"{endpoint.base_url}{endpoint.dialect.path}",
                data=data,
                headers={"Content-Type": "application/json", "Accept": "text/event-stream"},
                allow_redirects=False,
            ) as response,
        ):
            has_begun = True
            if response.status != 200:
                return Outcome.REFUSED, await _refusal(response)
            if response.content_type != "text/event-stream":
                return Outcome.MALFORMED, f"the answer is {response.content_type}, not a stream."
            await _consume(response, stream)
            return stream.verdict()
    except TimeoutError:
        tokens = len(stream.token_times_s)
        return Outcome.TIMED_OUT, f"not finished after {timeout_s:g} s; {tokens} token events came."
    except SseError as error:
        return Outcome.MALFORMED, str(error)
    except (aiohttp.ClientError, OSError) as error:
        outcome = Outcome.CUT if has_begun else Outcome.UNREACHABLE
        return outcome, str(error) or type(error).__name__


async def _consume(response: aiohttp.ClientResponse, stream: CompletionStream) -> None:
    parser = SseParser()
    async for chunk in response.content.iter_any():
        now = time.monotonic()
        for event in parser.feed(chunk):
            stream.accept(event, now)
        if stream.has_failed:
            return  # what succeeds is read to its end, so that the connection can be used again


async def _refusal(response: aiohttp.ClientResponse) -> str:
    text = await response.content.read(MAX_ERROR_BYTES)
    try:
        message = error_message(json.loads(text))
    except ValueError:
        message = text[:80].decode(errors="replace").strip()
    return f"HTTP {response.status}: {message}"


def _first(value: int | None, otherwise: int) -> int:
    return otherwise if value is None else value
