"""Fields of a route table that nobody reads: a newer operator's, or one that is misspelt.

They stay accepted, since an older gateway must survive a newer operator. Whoever wrote `tenant`
for `tenants` by hand has opened a model to everybody, though, and is told.
"""

import difflib
from collections.abc import Iterator, Mapping
from typing import Any

MAX_TOLD = 20
"""Most fields that are named; one mistake of a generator may occur in every model."""

_QUOTA = ("maxConcurrentRequests", "requestsPerMinute", "tokensPerMinute")
_MODEL = (
    "circuitBreaker fallback gatewayKey gatewayKeyFile generation limits name "
    "requestTimeoutSeconds resource revisions rollout routing tenants"
)
KNOWN: dict[str, tuple[str, ...]] = {
    "$": ("schemaVersion", "models"),
    "$.models[]": tuple(_MODEL.split()),
    "$.models[].limits": (*_QUOTA, "maxPromptTokens", "maxOutputTokens"),
    "$.models[].tenants[]": (
        *(*_QUOTA, "apiKeySecretRef", "keys"),
        *("mayChooseRevision", "name", "priority", "weight"),
    ),
    "$.models[].tenants[].keys[]": ("sha256",),
    "$.models[].tenants[].apiKeySecretRef": ("key", "name"),
    "$.models[].routing": ("mirrorPercent", "policy", "stickiness"),
    "$.models[].circuitBreaker": (
        *("consecutiveErrors", "errorRatePercent", "maxEjectedPercent", "openForSeconds"),
    ),
    "$.models[].fallback[]": (
        *("apiKey", "apiKeyFile", "apiKeySecretRef", "model", "url", "urlModel"),
    ),
    "$.models[].fallback[].apiKeySecretRef": ("key", "name"),
    "$.models[].revisions[]": (*_QUOTA, "endpoints", "name", "role", "weight"),
    "$.models[].revisions[].endpoints[]": ("metricsPort", "url"),
    "$.models[].rollout": ("assessment", "message", "paused", "phase"),
    "$.models[].rollout.assessment": ("message", "verdict"),
    "$.models[].rollout.paused": ("message",),
}
"""Names of fields by the place of their object."""


def unknown_fields(table: Mapping[str, Any]) -> tuple[str, ...]:
    """Name each unknown field of a decoded table: its path, and what may be meant.

    Returns:
        Such as "$.models[0].tenant (tenants?)"; at most `MAX_TOLD`, then how many more there are.
    """
    found = list(_unknown(table, "$", "$"))
    more = (f"and {len(found) - MAX_TOLD} more",) if len(found) > MAX_TOLD else ()
    return (*found[:MAX_TOLD], *more)


def _unknown(value: object, place: str, path: str) -> Iterator[str]:
    if isinstance(value, list | tuple):
        for index, entry in enumerate(value):
            yield from _unknown(entry, f"{place}[]", f"{path}[{index}]")
    elif isinstance(value, Mapping) and place in KNOWN:
        names = KNOWN[place]
        for name, inner in value.items():
            if name in names:
                yield from _unknown(inner, f"{place}.{name}", f"{path}.{name}")
            else:
                yield f"{path}.{_brief(name)}{_meant(str(name), names)}"


def _meant(name: str, names: tuple[str, ...]) -> str:
    by_lower = {known.lower(): known for known in names}
    plain = name.replace("_", "").replace("-", "").lower()[:60]
    close = difflib.get_close_matches(plain, by_lower, n=1)
    return f" ({by_lower[close[0]]}?)" if close else ""


def _brief(name: object) -> str:
    shown = str(name) if str(name).isidentifier() else repr(name)
    return shown if len(shown) <= 60 else f"{shown[:57]}..."
