"""The warm-up gate: a few requests, one after the other, and the first one's time apart."""

from typing import Any

import aiohttp

from pagelet_bench.client import Endpoint, complete
from pagelet_bench.core.dialect import Dialect
from pagelet_bench.core.gates.summary import Document, document
from pagelet_bench.core.report import summarize
from pagelet_bench.core.result import Outcome
from pagelet_bench.core.workload import FIRST_TOKEN_ID, PlannedRequest
from pagelet_bench.gates.session import model_card
from pagelet_bench.probe import base_url

DEFAULT_REQUESTS = 4
PROMPT_TOKENS, OUTPUT_TOKENS = 32, 16

_DIALECT = Dialect(ignore_eos=True, min_tokens=False)


async def run(
    session: aiohttp.ClientSession,
    url: str,
    model: str | None,
    settings: dict[str, Any],
    timeout_s: float,
) -> Document:
    """Return the summary of a warm-up.

    Args:
        session: With the engine's key, if it has one.
        url: The canary.
        model: Its served name, or None for the only one.
        settings: `requests` (4).
        timeout_s: Longest wait for one answer, seconds.

    Raises:
        UsageError, UnreachableError: It cannot be asked at all.
    """
    card = await model_card(session, url, model, timeout_s)
    endpoint = Endpoint(base_url=base_url(url), model=str(card["id"]), dialect=_DIALECT)
    results = []
    for index in range(int(settings.get("requests", DEFAULT_REQUESTS))):
        # Each prompt begins otherwise, so that none is answered from the prefix cache.
        ids = tuple(FIRST_TOKEN_ID + (index + n) % 8 for n in range(PROMPT_TOKENS))
        request = PlannedRequest(index, 0.0, ids, OUTPUT_TOKENS)
        results.append(await complete(session, endpoint, request, timeout_s=timeout_s))
    failed = [result for result in results if result.outcome is not Outcome.OK]
    figures = {"requests": float(len(results)), "failed": float(len(failed))}
    first, later = results[0].ttft_s, summarize(result.ttft_s for result in results[1:])
    if first is not None:
        figures["firstTtft"] = first
    if later.p50_s is not None:
        figures["ttftP50"] = later.p50_s
    return document("warmup", figures, failed[0].detail if failed else "")
