"""The load-test gate: `pagelet bench`'s load on one replica, and its queue meanwhile."""

import asyncio
import re
from collections.abc import Sequence
from typing import Any

import aiohttp

from pagelet_bench import load
from pagelet_bench.client import Endpoint, complete
from pagelet_bench.core.errors import UnreachableError
from pagelet_bench.core.gates.summary import Document, by_length, curve, document, load_figures
from pagelet_bench.core.gates.traffic import like_traffic
from pagelet_bench.core.profiles import Changes, adjusted, named
from pagelet_bench.core.result import Outcome, RequestResult
from pagelet_bench.core.workload import PlannedRequest, Profile, fitted, plan
from pagelet_bench.gates.session import model_card
from pagelet_bench.probe import probe

VOCAB_SIZES = (32_000, 8_000, 2_000, 512, 264)
"""Prompts are random ids below the first of these that the model knows."""

SAMPLE_S = 0.5
"""Between two looks at the queue."""

_WAITING = re.compile(r"^vllm:num_requests_waiting(?:\{[^}]*\})? ([0-9.e+]+)$", re.MULTILINE)


async def run(
    session: aiohttp.ClientSession,
    url: str,
    model: str | None,
    settings: dict[str, Any],
    timeout_s: float,
) -> Document:
    """Return the summary of one load test.

    Args:
        session: With the engine's key, if it has one.
        url: One replica of the revision.
        model: Its served name, or None for the only one.
        settings: `profile` (a name), and `requests`, `concurrency` in place of the profile's;
            `lengths` (see `core.gates.traffic`) in place of its prompts and outputs.
        timeout_s: Longest wait for one answer, seconds.

    Raises:
        UsageError: The settings are none.
        UnreachableError: It does not answer as needed.
    """
    profile = adjusted(
        named(str(settings["profile"])),
        Changes(requests=settings.get("requests"), concurrency=settings.get("concurrency")),
    )
    if settings.get("lengths") is not None:
        profile = like_traffic(profile, settings["lengths"])
    endpoint = await probe(session, url, model, timeout_s=timeout_s)
    card = await model_card(session, url, endpoint.model, timeout_s)
    vocab_size = await _vocab_size(session, endpoint, timeout_s)
    requests = fitted(plan(profile, vocab_size=vocab_size), card.get("max_model_len"))
    results, queue = await _measure(session, endpoint, profile, requests, timeout_s)
    failed = [result for result in results if result.outcome is not Outcome.OK]
    ok = [result for result in results if result.outcome is Outcome.OK]
    figures = load_figures(results, len(requests))
    if queue:
        figures["queueDepthPeak"] = max(queue)
        figures["queueDepth"] = sum(queue) / len(queue)
    return document(
        "loadTest",
        figures,
        failed[0].detail if failed else "",
        curves={
            "ttft": curve(result.ttft_s for result in ok),
            "itl": curve(gap for result in ok for gap in result.gaps_s),
        },
        lengths={
            "prompt": by_length(result.prompt_tokens for result in ok),
            "output": by_length(result.output_tokens for result in ok),
        },
    )


async def _measure(
    session: aiohttp.ClientSession,
    endpoint: Endpoint,
    profile: Profile,
    requests: Sequence[PlannedRequest],
    timeout_s: float,
) -> tuple[list[RequestResult], list[float]]:
    results: list[RequestResult] = []
    queue: list[float] = []
    watching = asyncio.create_task(_watch(session, endpoint.base_url, queue))
    try:
        await load.run(
            session, endpoint, profile, requests, timeout_s=timeout_s, on_result=results.append
        )
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
    return results, queue


async def _watch(session: aiohttp.ClientSession, base: str, queue: list[float]) -> None:
    """Sample the waiting requests; an engine that does not tell them has none in the summary."""
    while True:
        try:
            timeout = aiohttp.ClientTimeout(total=2.0)
            async with session.get(f"{base}/metrics", timeout=timeout) as response:
                text = await response.text() if response.status == 200 else ""
        except (aiohttp.ClientError, TimeoutError, OSError):
            text = ""
        queue += [float(value) for value in _WAITING.findall(text)[:1]]
        await asyncio.sleep(SAMPLE_S)


async def _vocab_size(session: aiohttp.ClientSession, endpoint: Endpoint, timeout_s: float) -> int:
    """Return the largest vocabulary size that the model takes ids of."""
    said = ""
    for size in VOCAB_SIZES:
        request = PlannedRequest(0, 0.0, (size - 1,) * 4, 1)
        result = await complete(session, endpoint, request, timeout_s=timeout_s)
        if result.outcome is Outcome.OK:
            return size
        said = result.detail
        if not said.startswith(("HTTP 400", "HTTP 422")):
            break
    raise UnreachableError(f"{endpoint.base_url} did not complete a trial request: {said}")
