"""Reads a route table: whole, or refused with the path of the field at fault.

Half a rollout is never applied. Fields that are not known are passed over: an older gateway
must survive a newer operator.
"""

import json
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from pagelet_gateway.core import table_fields as read
from pagelet_gateway.core.route_table import (
    DEFAULT_REQUEST_TIMEOUT_S,
    BreakerPolicy,
    Caps,
    Fallback,
    ModelRoute,
    Policy,
    Quota,
    Revision,
    Role,
    RouteTable,
    Routing,
    Stickiness,
    Tenant,
)
from pagelet_gateway.core.standing import standing
from pagelet_gateway.core.table_fields import RouteTableError

SCHEMA_VERSION = 1

Item = Mapping[str, Any]


def parse(raw: bytes | Item) -> RouteTable:
    """Read a route table.

    Args:
        raw: UTF-8 JSON, or the decoded object.

    Raises:
        RouteTableError: The table breaks a rule; nothing of it may be used.
    """
    root = read.as_object(_decode(raw) if isinstance(raw, bytes) else raw, "$")
    if "schemaVersion" not in root:
        raise RouteTableError("$.schemaVersion", "is missing")
    version = root["schemaVersion"]
    if version != SCHEMA_VERSION or isinstance(version, bool):
        raise RouteTableError(
            "$.schemaVersion", f"{version!r}, this gateway reads {SCHEMA_VERSION}"
        )
    models: dict[str, ModelRoute] = {}
    for path, item in read.objects(root, "models", "$"):
        model = parse_model(item, path)
        if model.name in models:
            raise RouteTableError(f"{path}.name", f"{model.name!r} occurs twice, names are unique")
        models[model.name] = model
    return RouteTable(models=MappingProxyType(models))


def _decode(raw: bytes) -> object:
    try:
        return json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise RouteTableError("$", f"not JSON, {error}") from None


def parse_model(item: Item, path: str) -> ModelRoute:
    """Read one model's entry, which stands at `path`.

    Raises:
        RouteTableError: The entry breaks a rule.
    """
    limits, at = read.part(item, "limits", path), f"{path}.limits"
    return ModelRoute(
        name=read.text(item, "name", path),
        resource=read.text(item, "resource", path),
        generation=read.integer(item, "generation", path, low=0, high=2**63 - 1),
        request_timeout_s=read.above_zero(
            item, "requestTimeoutSeconds", path, DEFAULT_REQUEST_TIMEOUT_S
        ),
        revisions=_revisions(item, path),
        caps=Caps(
            max_prompt_tokens=read.optional_integer(limits, "maxPromptTokens", at),
            max_output_tokens=read.optional_integer(limits, "maxOutputTokens", at),
        ),
        quota=_quota(limits, at),
        tenants=_tenants(item, path),
        routing=_routing(read.part(item, "routing", path), f"{path}.routing"),
        breaker=_breaker(read.part(item, "circuitBreaker", path), f"{path}.circuitBreaker"),
        fallback=_fallbacks(item, path),
        gateway_key=read.optional_text(item, "gatewayKey", path),
        standing=standing(item.get("rollout")),
    )


def _revisions(item: Item, path: str) -> tuple[Revision, ...]:
    found = tuple(_revision(entry, at) for at, entry in read.objects(item, "revisions", path))
    read.refuse_twice([revision.name for revision in found], f"{path}.revisions", "name")
    total = sum(revision.weight for revision in found)
    if total not in (0, 100):
        raise RouteTableError(
            f"{path}.revisions", f"weights sum to {total}, they must sum to 100 or all be 0"
        )
    return found


def _revision(item: Item, path: str) -> Revision:
    role = read.text(item, "role", path)
    if role not in tuple(Role):
        raise RouteTableError(f"{path}.role", f"{role!r}, choose stable, canary or retired")
    endpoints: list[str] = []
    metrics_urls: dict[str, str] = {}
    for at, entry in read.objects(item, "endpoints", path):
        url = _authority_url(entry, at)
        if url in endpoints:
            raise RouteTableError(f"{at}.url", f"{url!r} occurs twice in this revision")
        endpoints.append(url)
        port = read.optional_integer(entry, "metricsPort", at, high=65535)
        if port is not None:
            metrics_urls[url] = _with_port(url, port)
    return Revision(
        name=read.text(item, "name", path),
        role=Role(role),
        weight=read.integer(item, "weight", path, low=0, high=100),
        endpoints=tuple(endpoints),
        metrics_urls=metrics_urls,
        quota=_quota(item, path),
    )


def _quota(item: Item, path: str) -> Quota:
    return Quota(
        max_concurrent_requests=read.optional_integer(item, "maxConcurrentRequests", path),
        requests_per_minute=read.optional_integer(item, "requestsPerMinute", path),
        tokens_per_minute=read.optional_integer(item, "tokensPerMinute", path),
    )


def _tenants(item: Item, path: str) -> tuple[Tenant, ...] | None:
    if item.get("tenants") is None:
        return None
    found = tuple(_tenant(entry, at) for at, entry in read.objects(item, "tenants", path))
    read.refuse_twice([tenant.name for tenant in found], f"{path}.tenants", "name")
    owners: dict[str, str] = {}
    for index, tenant in enumerate(found):
        for digest in tenant.key_hashes:
            if digest in owners:
                raise RouteTableError(
                    f"{path}.tenants[{index}].keys",
                    f"{tenant.name!r} has a key of {owners[digest]!r}, a key belongs to one tenant",
                )
            owners[digest] = tenant.name
    return found


def _tenant(item: Item, path: str) -> Tenant:
    hashes = []
    for at, entry in read.objects(item, "keys", path) if item.get("keys") is not None else ():
        digest = read.text(entry, "sha256", at)
        if not re.fullmatch(r"[0-9a-f]{64}", digest):
            raise RouteTableError(f"{at}.sha256", "is not 64 lower-case hex digits")
        hashes.append(digest)
    return Tenant(
        name=read.text(item, "name", path),
        key_hashes=frozenset(hashes),
        weight=read.optional_integer(item, "weight", path, high=1000) or 1,
        priority=read.optional_integer(item, "priority", path, low=-1000, high=1000) or 0,
        quota=_quota(item, path),
        may_choose_revision=read.flag(item, "mayChooseRevision", path),
    )


def _routing(item: Item, path: str) -> Routing:
    mirror = read.optional_integer(item, "mirrorPercent", path, low=0, high=100)
    return Routing(
        policy=read.choice(item, "policy", path, Policy.LEAST_QUEUE),
        stickiness=read.choice(item, "stickiness", path, Stickiness.CONVERSATION),
        mirror_percent=mirror or 0,
    )


def _breaker(item: Item, path: str) -> BreakerPolicy:
    usual = BreakerPolicy()
    errors = read.optional_integer(item, "consecutiveErrors", path, high=1000)
    rate = read.optional_integer(item, "errorRatePercent", path, high=100)
    ejected = read.optional_integer(item, "maxEjectedPercent", path, low=0, high=100)
    return BreakerPolicy(
        consecutive_errors=errors or usual.consecutive_errors,
        error_rate=rate or usual.error_rate,
        open_for_s=read.above_zero(item, "openForSeconds", path, usual.open_for_s),
        max_ejected_percent=usual.max_ejected_percent if ejected is None else ejected,
    )


def _fallbacks(item: Item, path: str) -> tuple[Fallback, ...]:
    if item.get("fallback") is None:
        return ()
    return tuple(_fallback(entry, at) for at, entry in read.objects(item, "fallback", path))


def _fallback(item: Item, path: str) -> Fallback:
    if (item.get("model") is None) == (item.get("url") is None):
        raise RouteTableError(path, "needs exactly one of model and url")
    if item.get("model") is not None:
        return Fallback(model=read.text(item, "model", path))
    url = read.text(item, "url", path).rstrip("/")
    if not re.fullmatch(r"https?://[^\s/?#@]+(/[^\s?#]*)?", url) or not url.isascii():
        raise RouteTableError(f"{path}.url", f"{url!r} is not http(s)://HOST[:PORT][/PATH]")
    read.check_authority(url, f"{path}.url")
    return Fallback(
        url=url,
        url_model=read.text(item, "urlModel", path),
        api_key=read.optional_text(item, "apiKey", path),
    )


def _authority_url(item: Item, path: str) -> str:
    url = read.text(item, "url", path)
    scheme, found, rest = url.partition("://")
    authority = rest.removesuffix("/")
    is_plain = authority.isascii() and authority.isprintable()
    if scheme not in ("http", "https") or not found or not authority or not is_plain:
        raise RouteTableError(f"{path}.url", f"{url!r} is not http://HOST[:PORT]")
    if any(character in authority for character in "/?#@ \\"):
        raise RouteTableError(f"{path}.url", f"{url!r} must name scheme, host and port only")
    host, colon, port = authority.rpartition(":")
    has_port = bool(colon) and not authority.endswith("]")
    if has_port and not (host and port.isdigit() and 0 < int(port[:6]) < 65536):
        raise RouteTableError(f"{path}.url", f"{url!r} has no port between 1 and 65535")
    read.check_authority(url, f"{path}.url")
    return f"{scheme}://{authority}"


def _with_port(url: str, port: int) -> str:
    """Return `url` with another port; a bracketed IPv6 address has colons of its own."""
    head, _, tail = url.rpartition(":")
    return f"{head if tail.isdigit() else url}:{port}"
