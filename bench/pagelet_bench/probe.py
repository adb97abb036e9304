"""Asks an endpoint, before any load, which models it serves and which fields it understands.

The trial request is also the warm-up that keeps the first connection out of the figures.
"""

import asyncio
from urllib.parse import urlsplit

import aiohttp

from pagelet_bench.client import Endpoint, complete
from pagelet_bench.core.dialect import DIALECTS, Form
from pagelet_bench.core.errors import UnreachableError, UsageError
from pagelet_bench.core.result import Outcome
from pagelet_bench.core.workload import FIRST_TOKEN_ID, PlannedRequest

_TRIAL = PlannedRequest(0, 0.0, tuple(range(FIRST_TOKEN_ID, FIRST_TOKEN_ID + 8)), 2)
_LIST_TIMEOUT_S = 10.0


def base_url(url: str) -> str:
    """Bring an endpoint's address into the form `Endpoint` wants.

    Raises:
        UsageError: It is not an http or https address.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise UsageError(f"{url!r} is not an address such as http://127.0.0.1:8000.")
    return url.rstrip("/").removesuffix("/v1").rstrip("/")


async def probe(
    session: aiohttp.ClientSession,
    url: str,
    model: str | None,
    *,
    timeout_s: float,
    chat: bool = False,
) -> Endpoint:
    """Find out how to talk to the endpoint at `url`, serving `model` or its only model.

    Args:
        session: With the endpoint's key.
        url: With or without `/v1`.
        model: What to ask for, or None for the only one.
        timeout_s: Longest wait for one trial request, seconds.
        chat: Whether to use chat completions rather than completions.

    Raises:
        UsageError: The address or the model's name is wrong.
        UnreachableError: It does not answer, or refuses the trial request.
    """
    base = base_url(url)
    name = _choose(await models(session, base), model, base)
    detail = ""
    for dialect in (d for d in DIALECTS if (d.form is Form.CHAT) == chat):
        endpoint = Endpoint(base_url=base, model=name, dialect=dialect)
        result = await complete(session, endpoint, _TRIAL, timeout_s=timeout_s)
        if result.outcome is Outcome.OK:
            return endpoint
        detail = detail or result.detail
        if not result.detail.startswith(("HTTP 400", "HTTP 422")):
            break
    hint = "; try --api chat" if not chat and detail.startswith("HTTP 404") else ""
    raise UnreachableError(f"{base} did not complete a trial request to {name!r}: {detail}{hint}")


async def models(session: aiohttp.ClientSession, base: str) -> list[str]:
    """List the names `GET /v1/models` gives.

    Raises:
        UnreachableError: No answer within ten seconds, or not a list of models.
    """
    try:
        async with asyncio.timeout(_LIST_TIMEOUT_S), session.get(f"{base}/v1/models") as response:
            if response.status != 200:
                raise UnreachableError(f"{base}/v1/models answered HTTP {response.status}.")
            listed = await response.json(content_type=None)
        return [str(model["id"]) for model in listed["data"]]
    except TimeoutError:
        raise UnreachableError(f"{base} did not answer within {_LIST_TIMEOUT_S:g} s.") from None
    except (aiohttp.ClientError, OSError) as error:
        raise UnreachableError(f"{base} cannot be reached: {error}") from None
    except (ValueError, KeyError, TypeError):
        raise UnreachableError(f"{base}/v1/models did not answer a list of models.") from None


def _choose(served: list[str], wanted: str | None, base: str) -> str:
    if wanted is None and len(served) == 1:
        return served[0]
    if wanted in served:
        return wanted
    if not served:
        raise UnreachableError(f"{base} serves no model.")
    names = ", ".join(served)
    if wanted is None:
        raise UsageError(f"{base} serves {names}; say which with --model.")
    raise UsageError(f"{base} does not serve {wanted!r}; it serves {names}.")
