"""Requests of a gate: straight to an engine, with the key it knows gateways by."""

from typing import Any

import aiohttp

from pagelet_bench.core.errors import UnreachableError, UsageError
from pagelet_bench.probe import base_url

GATEWAY_KEY_HEADER = "x-pagelet-gateway-key"


def open_session(key: str | None) -> aiohttp.ClientSession:
    """Open a session that limits nothing by itself."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
        headers={GATEWAY_KEY_HEADER: key} if key else None,
        trust_env=False,
    )


async def model_card(
    session: aiohttp.ClientSession, url: str, model: str | None, timeout_s: float
) -> dict[str, Any]:
    """Return what `GET /v1/models` says of a model, or of the only one.

    Raises:
        UnreachableError: It does not answer with such a list.
        UsageError: The address is none, or the model is not served.
    """
    base = base_url(url)
    try:
        async with session.get(
            f"{base}/v1/models", timeout=aiohttp.ClientTimeout(total=timeout_s)
        ) as response:
            if response.status != 200:
                raise UnreachableError(f"{base}/v1/models answered HTTP {response.status}.")
            cards = [dict(card) for card in (await response.json(content_type=None))["data"]]
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        reason = str(error) or type(error).__name__
        raise UnreachableError(f"{base} cannot be reached: {reason}") from None
    except (ValueError, KeyError, TypeError):
        raise UnreachableError(f"{base}/v1/models did not answer a list of models.") from None
    found = [card for card in cards if model in (None, card.get("id"))]
    if not found:
        raise UsageError(f"{base} does not serve {model!r}.")
    return found[0]
