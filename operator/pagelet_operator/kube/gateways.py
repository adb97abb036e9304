"""Where the gateways of a cluster tell what users feel: their pods, one by one.

Through a Service each reading would meet another pod, and counters of several pods look like one
that jumps. So the pods are listed, and each is read by itself.
"""

from collections.abc import Sequence
from typing import Any

from pagelet_operator.kube.api import PODS, Api, ApiError

SELECTOR = "app.kubernetes.io/name=pagelet,app.kubernetes.io/component=gateway"

_PORTS = ("metrics", "http")
"""Names of the port that serves /metrics: one of its own, else the clients'."""


class GatewayPods:
    """Base URLs of the ready gateways in a namespace; `telemetry.scrape.Gateways`."""

    def __init__(self, api: Api, namespace: str) -> None:
        self._api = api
        self._namespace = namespace

    async def __call__(self) -> Sequence[str]:
        """Return where to read.

        Raises:
            OSError: The API server does not say; the message has its words.
        """
        try:
            pods = await self._api.list(PODS, self._namespace, SELECTOR)
        except ApiError as error:
            raise OSError(str(error)) from error
        return sorted(filter(None, map(_url, pods)))


def _url(pod: dict[str, Any]) -> str | None:
    address = pod.get("status", {}).get("podIP")
    ports = {
        port.get("name"): port["containerPort"]
        for container in pod["spec"]["containers"]
        for port in container.get("ports", ())
    }
    found = next((ports[name] for name in _PORTS if name in ports), None)
    # One that ends still counts its last streams, for as long as it answers.
    if not address or found is None:
        return None
    return f"http://{f'[{address}]' if ':' in address else address}:{found}"
