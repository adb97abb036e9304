"""From spec to the route table: what the gateway does for a model, in the gateway's words.

Defaults are left out, as the table's reader has them, too; a test holds the two together.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel

from pagelet_operator.api.quantities import seconds
from pagelet_operator.api.routing import CircuitBreaker, Fallback
from pagelet_operator.api.spec import ModelDeploymentSpec
from pagelet_operator.core.model import TrafficPolicy

_OWN_PLACE = {"request_timeout", "tenants", "canary"}
"""Limits that stand elsewhere in a route table's entry than under `limits`."""


def traffic_policy(spec: ModelDeploymentSpec, peers: Mapping[str, str]) -> TrafficPolicy:
    """Return what `spec` asks of the gateway.

    Args:
        spec: The accepted spec.
        peers: The model name that clients send for each ModelDeployment of the namespace that
            `spec.fallback` may name; a link to one that is not there is left out.
    """
    tenants = spec.limits.tenants
    found = {
        "limits": _said(spec.limits, exclude=_OWN_PLACE),
        "routing": _said(spec.routing),
        "circuitBreaker": _breaker(spec.circuit_breaker),
        "fallback": list(_links(spec.fallback, peers)),
    }
    entry: dict[str, Any] = {key: value for key, value in found.items() if value}
    if tenants is not None:  # An empty list says something, too: nobody.
        entry["tenants"] = [_said(tenant) for tenant in tenants]
    return TrafficPolicy(
        entry=entry,
        canary=_said(spec.limits.canary) if spec.limits.canary else {},
        missing=tuple(name for name in named_models(spec) if name not in peers),
    )


def named_models(spec: ModelDeploymentSpec) -> tuple[str, ...]:
    """Return the ModelDeployments that `spec.fallback` names, in order, each once."""
    names = (link.model_deployment for link in spec.fallback)
    return tuple(dict.fromkeys(name for name in names if name is not None))


def _links(links: list[Fallback], peers: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    for link in links:
        if link.url is not None:
            wire = _said(link)
            yield {("urlModel" if key == "model" else key): item for key, item in wire.items()}
        elif (name := peers.get(link.model_deployment or "")) is not None:
            yield {"model": name}


def _breaker(breaker: CircuitBreaker) -> dict[str, Any]:
    wire = _said(breaker)
    if "openFor" in wire:
        wire["openForSeconds"] = seconds(wire.pop("openFor"))
    return wire


def _said(part: BaseModel, exclude: set[str] | None = None) -> dict[str, Any]:
    return part.model_dump(mode="json", by_alias=True, exclude_defaults=True, exclude=exclude)
