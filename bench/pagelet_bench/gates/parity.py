"""The parity gate: both revisions complete the same prompts greedily, side by side.

One prompt at a time, so that the stable revision, which serves users, feels one request more.
"""

import asyncio
from collections.abc import Sequence
from typing import Any

import aiohttp

from pagelet_bench.core.errors import UnreachableError, UsageError
from pagelet_bench.core.gates.divergence import Answer, Pair, figures
from pagelet_bench.core.gates.prompts import PROMPTS
from pagelet_bench.core.gates.summary import Document, document
from pagelet_bench.gates.session import model_card
from pagelet_bench.probe import base_url

DEFAULT_MAX_TOKENS = 32


async def run(
    session: aiohttp.ClientSession,
    url: str,
    reference: str | None,
    model: str | None,
    settings: dict[str, Any],
    timeout_s: float,
) -> Document:
    """Return the summary of one comparison.

    Args:
        session: With the engines' key, if they have one.
        url: The canary.
        reference: The stable revision.
        model: Its served name, or None for the only one.
        settings: `prompts` (texts; default: the built-in ones) and `maxTokens` (32).
        timeout_s: Longest wait for one answer, seconds.

    Raises:
        UsageError: There is no reference, or the settings are none.
        UnreachableError: One of the two does not answer as needed.
    """
    if reference is None:
        raise UsageError("parity needs --against, the endpoint to compare with.")
    prompts: Sequence[str] = settings.get("prompts") or PROMPTS
    name = str((await model_card(session, url, model, timeout_s))["id"])
    max_tokens = int(settings.get("maxTokens", DEFAULT_MAX_TOKENS))
    pairs, skipped = [], 0
    for prompt in prompts:
        asked = {"model": name, "prompt": prompt, "max_tokens": max_tokens}
        ours, theirs = await asyncio.gather(
            _complete(session, url, asked, timeout_s),
            _complete(session, reference, asked, timeout_s),
        )
        if theirs is None:
            skipped += 1  # What stable itself cannot answer says nothing.
        else:
            # A refusal of what stable answers is a difference from the first token on.
            pairs.append(Pair(ours or Answer(()), theirs))
    said = f"{skipped} prompts that stable refuses were left out" if skipped else ""
    return document("parity", figures(pairs), said)


async def _complete(
    session: aiohttp.ClientSession, url: str, asked: dict[str, Any], timeout_s: float
) -> Answer | None:
    """Return a greedy answer, or None if the engine refuses the prompt."""
    base = base_url(url)
    body = asked | {"temperature": 0.0, "logprobs": 1}
    try:
        async with session.post(
            f"{base}/v1/completions", json=body, timeout=aiohttp.ClientTimeout(total=timeout_s)
        ) as response:
            if response.status in (400, 413, 422):
                return None
            if response.status != 200:
                raise UnreachableError(f"{base} answered HTTP {response.status}.")
            choice = (await response.json(content_type=None))["choices"][0]
        return _answer(choice)
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        reason = str(error) or type(error).__name__
        raise UnreachableError(f"{base} did not answer: {reason}") from None
    except (ValueError, KeyError, TypeError, IndexError):
        raise UnreachableError(f"{base} did not answer a completion.") from None


def _answer(choice: dict[str, Any]) -> Answer:
    told = choice.get("logprobs") or {}
    tokens = tuple(str(token) for token in told.get("tokens") or ())
    if not tokens:
        # An engine that tells no tokens is compared by characters.
        return Answer(tuple(choice["text"]))
    return Answer(tokens, tuple(float(value) for value in told.get("token_logprobs") or ()))
