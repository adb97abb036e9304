"""What a gateway reads of a cluster's objects: little, and never trusting their shape. Pure.

Sources: https://kubernetes.io/docs/reference/kubernetes-api/service-resources/endpoint-slice-v1/
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pagelet_gateway.core.standing import excerpt

SERVICE_LABEL = "kubernetes.io/service-name"

MODEL_LABEL = "pagelet.dev/model"
"""On the Services of a model's revisions; Kubernetes copies it to their EndpointSlices."""

PORT_NAME = "http"
"""Name of the port on which an engine serves."""

METRICS_PORT_NAME = "metrics"
"""Name of the port of /metrics, where it is another one."""

Object = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Resource:
    """A ModelDeployment, as far as a gateway needs it."""

    uid: str
    namespace: str
    name: str
    created: str
    """RFC 3339 in UTC, so that it sorts."""
    traffic: Object | None
    """`status.traffic`; None while the operator has not written it."""
    rollout: Object | None = None
    """What of `status.rollout` is shown to people."""

    @property
    def title(self) -> str:
        """`namespace/name`."""
        return f"{self.namespace}/{self.name}"

    @property
    def age(self) -> tuple[str, str, str]:
        """Sorts the oldest first, and any two the same way everywhere."""
        return self.created, self.namespace, self.name


@dataclass(frozen=True, slots=True, order=True)
class Endpoint:
    """One address of one pod that takes requests."""

    pod: str
    """What tells pods apart: an uid, or the address itself."""
    is_ipv6: bool
    url: str
    metrics_port: int | None = field(default=None, compare=False)
    """Where /metrics is, if not on the same port."""


@dataclass(frozen=True, slots=True)
class Slice:
    """An EndpointSlice: some of the pods behind a Service."""

    namespace: str
    service: str
    endpoints: tuple[Endpoint, ...]
    """Those that are ready and do not end."""


def resource_of(item: Object) -> Resource:
    """Read a ModelDeployment."""
    meta = _mapping(item.get("metadata"))
    status = _mapping(item.get("status"))
    traffic = status.get("traffic")
    return Resource(
        uid=str(meta.get("uid", "")),
        namespace=str(meta.get("namespace", "")),
        name=str(meta.get("name", "")),
        created=str(meta.get("creationTimestamp", "")),
        traffic=traffic if isinstance(traffic, Mapping) else None,
        rollout=excerpt(status.get("rollout")),
    )


def slice_of(item: Object) -> Slice:
    """Read an EndpointSlice."""
    meta = _mapping(item.get("metadata"))
    return Slice(
        namespace=str(meta.get("namespace", "")),
        service=str(_mapping(meta.get("labels")).get(SERVICE_LABEL, "")),
        endpoints=tuple(_endpoints(item)),
    )


def addresses(slices: Iterable[Slice]) -> dict[tuple[str, str], tuple[str, ...]]:
    """Return the base URLs behind each Service, by namespace and name; sorted.

    A pod that several slices name counts once, by IPv4 where it has both.
    """
    found: dict[tuple[str, str], dict[str, Endpoint]] = {}
    for item in slices:
        pods = found.setdefault((item.namespace, item.service), {})
        for endpoint in item.endpoints:
            known = pods.get(endpoint.pod)
            if known is None or endpoint < known:
                pods[endpoint.pod] = endpoint
    return {
        service: tuple(sorted({endpoint.url for endpoint in pods.values()}))
        for service, pods in found.items()
    }


def metrics_ports(slices: Iterable[Slice]) -> dict[str, int]:
    """Return the port of /metrics by base URL, for those that name one."""
    return {
        endpoint.url: endpoint.metrics_port
        for item in slices
        for endpoint in item.endpoints
        if endpoint.metrics_port is not None and 0 < endpoint.metrics_port < 65536
    }


def _endpoints(item: Object) -> Iterator[Endpoint]:
    is_ipv6 = item.get("addressType") == "IPv6"
    port, metrics_port = _port(item, PORT_NAME), _port(item, METRICS_PORT_NAME)
    if port is None or item.get("addressType") not in ("IPv4", "IPv6"):
        return
    for endpoint in map(_mapping, _list(item.get("endpoints"))):
        found = _list(endpoint.get("addresses"))
        if not found or not _takes_requests(_mapping(endpoint.get("conditions"))):
            continue
        # All addresses of one endpoint lead to the same pod; consumers take the first.
        address = str(found[0])
        pod = str(_mapping(endpoint.get("targetRef")).get("uid") or address)
        host = f"[{address}]" if is_ipv6 else address
        yield Endpoint(pod, is_ipv6, f"http://{host}:{port}", metrics_port)


def _port(item: Object, name: str) -> int | None:
    ports = map(_mapping, _list(item.get("ports")))
    found = next((port.get("port") for port in ports if port.get("name") == name), None)
    return found if isinstance(found, int) else None


def _takes_requests(conditions: Object) -> bool:
    # No word on readiness means ready, by the API's own definition.
    return conditions.get("ready") is not False and conditions.get("terminating") is not True


def _mapping(value: object) -> Object:
    return value if isinstance(value, Mapping) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
