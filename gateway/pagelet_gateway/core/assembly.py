"""From a cluster's objects to the route table: the same objects give every gateway the same. Pure.

Each ModelDeployment stands for itself: one that cannot be understood keeps the last form that
could be, with the addresses and keys of now, and takes nothing away from the others.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from pagelet_gateway.core.cluster import Resource, Slice, addresses, metrics_ports
from pagelet_gateway.core.key_material import KeyRef, Material, Purpose, SecretRef
from pagelet_gateway.core.route_table import ModelRoute, RouteTable
from pagelet_gateway.core.table_fields import RouteTableError
from pagelet_gateway.core.table_parser import parse_model

Keys = Mapping[KeyRef, Material]


@dataclass(frozen=True, slots=True)
class Places:
    """Where the pods of a cluster are."""

    urls: Mapping[tuple[str, str], tuple[str, ...]]
    """Base URLs behind each Service, by namespace and name."""
    metrics_ports: Mapping[str, int]
    """By base URL."""

    def of(self, namespace: str, service: str) -> list[dict[str, Any]]:
        """Return the endpoints behind a Service, as the route table names them."""
        return [
            {"url": url, "metricsPort": port}
            if (port := self.metrics_ports.get(url))
            else {"url": url}
            for url in self.urls.get((namespace, service), ())
        ]


@dataclass(frozen=True, slots=True)
class Good:
    """The last form of a ModelDeployment that could be understood."""

    traffic: Mapping[str, Any]
    wire: Mapping[str, Any]
    """`traffic` with addresses and keys: a route table's entry."""
    route: ModelRoute


@dataclass(frozen=True, slots=True)
class Assembly:
    """A route table and what is wrong with what it was made of."""

    table: RouteTable
    good: Mapping[str, Good]
    """By uid; to be given to the next `assemble`."""
    problems: Mapping[str, tuple[str, ...]]
    """Sentences by `namespace/name`; what has none is not named."""


def references(resources: Iterable[Resource]) -> frozenset[KeyRef]:
    """Return every key of a Secret that the resources name."""
    return frozenset(
        ref
        for resource in resources
        for ref in _references(resource.namespace, resource.traffic or {})
    )


def assemble(
    resources: Iterable[Resource],
    slices: Iterable[Slice],
    keys: Keys,
    before: Mapping[str, Good] = MappingProxyType({}),
) -> Assembly:
    """Return the route table of a cluster.

    Args:
        resources: All ModelDeployments, in any order.
        slices: The EndpointSlices of their Services.
        keys: What is known of the keys they name. One that was never looked up is absent: a
            model that is new waits for it, one that serves goes on without it.
        before: `good` of the last assembly.
    """
    slices = list(slices)
    places = Places(addresses(slices), metrics_ports(slices))
    models: dict[str, ModelRoute] = {}
    owners: dict[str, str] = {}
    good: dict[str, Good] = {}
    problems: dict[str, tuple[str, ...]] = {}
    for resource in sorted(resources, key=lambda item: item.age):
        found, said = _understand(resource, places, keys, before.get(resource.uid))
        if found is not None:
            good[resource.uid] = found
            name = found.route.name
            if name in models:
                said += (f"the model name {name!r} belongs to {owners[name]}, which is older",)
            else:
                models[name], owners[name] = found.route, resource.title
        if said:
            problems[resource.title] = said
    ordered = {name: _at_home(models[name], owners, problems) for name in sorted(models)}
    return Assembly(RouteTable(models=MappingProxyType(ordered)), good, problems)


def _at_home(
    route: ModelRoute, owners: Mapping[str, str], problems: dict[str, tuple[str, ...]]
) -> ModelRoute:
    """Leave out links to models of other namespaces, which would let past their tenants' keys.

    Links name models as clients do, so a ModelDeployment that lost its name to an older one
    elsewhere would lead there.
    """
    home = _namespace(route.resource)
    named = {
        link.model or "": owners.get(link.model or "", route.resource) for link in route.fallback
    }
    abroad = {name: owner for name, owner in named.items() if _namespace(owner) != home}
    if not abroad:
        return route
    said = (f"fallback {name!r} is {abroad[name]} of another namespace" for name in abroad)
    problems[route.resource] = (*problems.get(route.resource, ()), *said)
    return replace(
        route, fallback=tuple(link for link in route.fallback if link.model not in abroad)
    )


def _namespace(title: str) -> str:
    return title.partition("/")[0]


def _understand(
    resource: Resource, places: Places, keys: Keys, before: Good | None
) -> tuple[Good | None, tuple[str, ...]]:
    if resource.traffic is None:
        if before is None:
            return None, ()  # The operator has not looked at it yet.
        again, said = _read(resource, before.traffic, places, keys, before)
        return again, (*said, "status.traffic is gone; the last one still counts")
    if before is None and any(
        ref not in keys for ref in _references(resource.namespace, resource.traffic)
    ):
        return None, ()  # Its first requests should not be refused for a key on its way.
    try:
        return _read(resource, resource.traffic, places, keys, before)
    except RouteTableError as error:
        if before is None:
            return None, (f"status.traffic: {error}",)
        again, said = _read(resource, before.traffic, places, keys, before)
        return again, (*said, f"status.traffic: {error}; the last good one still counts")


def _read(
    resource: Resource,
    traffic: Mapping[str, Any],
    places: Places,
    keys: Keys,
    before: Good | None,
) -> tuple[Good, tuple[str, ...]]:
    """Return the entry with the addresses and keys of now.

    Raises:
        RouteTableError: It breaks a rule of the route table.
    """
    entry = _Entry(resource.namespace, places, keys)
    wire = {**entry.of(traffic), "resource": resource.title, "rollout": resource.rollout}
    if before is not None and before.wire == wire:
        return Good(traffic, before.wire, before.route), tuple(entry.said)
    return Good(traffic, wire, parse_model(wire, "$")), tuple(entry.said)


class _Entry:
    """Fills in what `status.traffic` only names; what has another shape is left to the parser."""

    def __init__(self, namespace: str, places: Places, keys: Keys) -> None:
        self.said: list[str] = []
        self._namespace = namespace
        self._places = places
        self._keys = keys
        self._owners: dict[str, str] = {}

    def of(self, traffic: Mapping[str, Any]) -> dict[str, Any]:
        wire = {key: value for key, value in traffic.items() if key != "gatewayKeySecretRef"}
        for part, fill in (
            ("revisions", self._revision),
            ("tenants", self._tenant),
            ("fallback", self._link),
        ):
            if isinstance(traffic.get(part), list):
                wire[part] = _each(traffic[part], fill)
        gateway = _key_ref(self._namespace, traffic.get("gatewayKeySecretRef"), Purpose.SHOWN)
        if gateway is not None:
            wire["gatewayKey"] = self._material(gateway, "gateway key").text
        return wire

    def _revision(self, item: dict[str, Any]) -> dict[str, Any]:
        return {**item, "endpoints": self._places.of(self._namespace, str(item.get("name")))}

    def _tenant(self, item: dict[str, Any]) -> dict[str, Any]:
        name = str(item.get("name"))
        ref = _key_ref(self._namespace, item.get("apiKeySecretRef"), Purpose.TENANT)
        if ref is None:
            return item
        own = []
        for digest in sorted(self._material(ref, f"tenant {name!r}").hashes):
            # A change of a Secret may not cost a model its route, so the first tenant has it.
            if self._owners.setdefault(digest, name) == name:
                own.append({"sha256": digest})
            else:
                self.said.append(f"tenant {name!r} has a key of {self._owners[digest]!r}")
        return {**item, "keys": own}

    def _link(self, item: dict[str, Any]) -> dict[str, Any] | None:
        ref = _key_ref(self._namespace, item.get("apiKeySecretRef"), Purpose.SHOWN)
        if ref is None:
            return item
        key = self._material(ref, f"fallback {item.get('url')}").text
        # Without its key it would only be refused there.
        return None if key is None else {**item, "apiKey": key}

    def _material(self, ref: KeyRef, whose: str) -> Material:
        found = self._keys.get(ref, Material())
        if found.trouble is not None:
            self.said.append(f"{whose}: {found.trouble}")
        return found


def _each(
    items: list[Any], fill: Callable[[dict[str, Any]], dict[str, Any] | None]
) -> list[object]:
    filled = [fill(dict(item)) if isinstance(item, Mapping) else item for item in items]
    return [item for item in filled if item is not None]


def _references(namespace: str, traffic: Mapping[str, Any]) -> Iterator[KeyRef]:
    named = [
        (traffic.get("gatewayKeySecretRef"), Purpose.SHOWN),
        *((item, Purpose.TENANT) for item in _named_in(traffic.get("tenants"))),
        *((item, Purpose.SHOWN) for item in _named_in(traffic.get("fallback"))),
    ]
    for said, purpose in named:
        ref = _key_ref(namespace, said, purpose)
        if ref is not None:
            yield ref


def _named_in(items: object) -> Iterator[object]:
    for item in items if isinstance(items, list) else ():
        if isinstance(item, Mapping):
            yield item.get("apiKeySecretRef")


def _key_ref(namespace: str, said: object, purpose: Purpose) -> KeyRef | None:
    if not isinstance(said, Mapping):
        return None
    name, key = said.get("name"), said.get("key")
    if not isinstance(name, str) or not isinstance(key, str) or not name or not key:
        return None
    return KeyRef(SecretRef(namespace, name), key, purpose)
