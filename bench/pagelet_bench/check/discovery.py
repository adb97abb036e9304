"""Finds out, before any probe, which model there is to ask and which routes answer."""

from dataclasses import replace
from typing import Any

from pagelet_bench.check.wire import Wire
from pagelet_bench.core.check.answers import message
from pagelet_bench.core.check.exchange import Exchange, Request, parsed
from pagelet_bench.core.check.target import Target
from pagelet_bench.core.errors import UnreachableError, UsageError

_MAX_NAMES = 8


async def discover(wire: Wire, model: str | None, *, has_key: bool) -> tuple[Target, str]:
    """Return what to ask, and what the server calls itself (or nothing).

    Raises:
        UsageError: The model's name or the key is wrong.
        UnreachableError: Nothing there answers like an OpenAI-compatible endpoint.
    """
    listing = await wire.send(Request(method="GET", path="/v1/models"))
    listed = _listed(listing, wire.base_url, is_named=model is not None)
    target = _target(listed, model, wire.base_url, has_key)
    chat = await wire.send(target.chat("Hello.", max_tokens=1))
    complete = await wire.send(target.complete("Hello.", max_tokens=1))
    target = replace(target, has_chat=chat.status == 200, has_completions=complete.status == 200)
    if not target.has_chat and not target.has_completions:
        raise _useless(chat, target.model, wire.base_url)
    return target, chat.headers.get("server", "")


def _listed(listing: Exchange, base: str, *, is_named: bool) -> list[dict[str, Any]]:
    if not listing.status:
        raise UnreachableError(f"{base} cannot be reached: {listing.failure}.")
    if listing.status in (401, 403):
        raise UsageError(
            f"{base} refuses the key (HTTP {listing.status}: {message(listing)}); "
            f"give the right one with --api-key-file."
        )
    body = parsed(listing.text)
    data = body.get("data") if isinstance(body, dict) else None
    if listing.status == 200 and isinstance(data, list):
        return [item for item in data if isinstance(item, dict) and isinstance(item.get("id"), str)]
    if is_named:
        return []  # an endpoint may serve a model and list none
    raise UnreachableError(
        f"{base}/v1/models does not answer a list of models (HTTP {listing.status}); is this an "
        f"OpenAI-compatible endpoint? If it is, name its model with --model."
    )


def _target(listed: list[dict[str, Any]], model: str | None, base: str, has_key: bool) -> Target:
    names = [item["id"] for item in listed]
    shown = ", ".join(names[:_MAX_NAMES])
    if model is None and len(names) != 1:
        raise UsageError(f"{base} serves {shown or 'no model'}; say which with --model.")
    if model is not None and names and model not in names:
        raise UsageError(f"{base} does not serve {model!r}; it serves {shown}.")
    name = names[0] if model is None else model
    lengths = [item.get("max_model_len") for item in listed if item["id"] == name]
    length = lengths[0] if lengths and type(lengths[0]) is int and lengths[0] > 0 else None
    return Target(model=name, max_model_len=length, has_key=has_key)


def _useless(chat: Exchange, model: str, base: str) -> UnreachableError:
    said = chat.failure or f"HTTP {chat.status}: {message(chat)}"
    return UnreachableError(
        f"{base} answers neither a chat nor a plain completion of {model!r} ({said})."
    )
