"""What an operator and a cluster's controllers would say, said by a test of the gateway."""

import base64
import socket
from collections.abc import Iterable
from typing import Any

from kube_cluster import Cluster
from kube_fixtures import MODELS

MERGE = "application/merge-patch+json"

SLICES = "/apis/discovery.k8s.io/v1/namespaces/{}/endpointslices"


def own_address() -> str:
    """An address of this machine that an EndpointSlice may hold: loopback it may not."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))  # Sends nothing; it only chooses an interface.
        return str(probe.getsockname()[0])


def slice_of(
    namespace: str,
    name: str,
    service: str,
    addresses: Iterable[str],
    *,
    port: int = 8000,
    **conditions: bool,
) -> dict[str, Any]:
    """An EndpointSlice as the cluster makes it for a revision's Service."""
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": {"kubernetes.io/service-name": service, "pagelet.dev/model": "chat"},
        },
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": port, "protocol": "TCP"}],
        "endpoints": [
            {"addresses": [address], "conditions": {"ready": True, **conditions}}
            for address in addresses
        ],
    }


class World:
    """The objects of one namespace that a gateway reads."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self.cluster, self.namespace = cluster, namespace

    def traffic(self, name: str, weights: dict[str, int], /, **fields: Any) -> dict[str, Any]:
        return {
            "name": f"{self.namespace}-{name}",
            "resource": f"{self.namespace}/{name}",
            "generation": 1,
            "requestTimeoutSeconds": 60,
            "revisions": [
                {"name": revision, "role": "canary" if index else "stable", "weight": weight}
                for index, (revision, weight) in enumerate(weights.items())
            ],
        } | fields

    def model(self, name: str, weights: dict[str, int], /, **fields: Any) -> str:
        """Make a ModelDeployment whose operator says this; return its model name."""
        body = {
            "apiVersion": "pagelet.dev/v1alpha1", "kind": "ModelDeployment",
            "metadata": {"name": name}, "spec": {"model": {"source": "dummy://tiny"}},
        }  # fmt: skip
        status, answer = self.cluster.request("POST", MODELS.format(self.namespace), body)
        assert status == 201, answer
        self.say(name, self.traffic(name, weights, **fields))
        return f"{self.namespace}-{name}"

    def say(self, name: str, traffic: dict[str, Any] | None) -> None:
        """Replace status.traffic."""
        path = f"{MODELS.format(self.namespace)}/{name}"
        live = self.cluster.get(path)
        body = {**live, "status": {} if traffic is None else {"traffic": traffic}}
        status, answer = self.cluster.request("PUT", f"{path}/status", body)
        assert status == 200, answer

    def delete_model(self, name: str) -> None:
        assert self.cluster.request("DELETE", f"{MODELS.format(self.namespace)}/{name}")[0] == 200

    def pods(self, name: str, service: str, addresses: Iterable[str], port: int = 8000) -> None:
        """Make or replace an EndpointSlice."""
        body = slice_of(self.namespace, name, service, addresses, port=port)
        path = SLICES.format(self.namespace)
        status, answer = self.cluster.request("POST", path, body)
        if status == 409:
            status, answer = self.cluster.request("PUT", f"{path}/{name}", body)
        assert status in (200, 201), answer

    def secret(self, name: str, **texts: str) -> None:
        """Make or replace a Secret."""
        data = {key: base64.b64encode(text.encode()).decode() for key, text in texts.items()}
        body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": data}
        path = f"/api/v1/namespaces/{self.namespace}/secrets"
        status, answer = self.cluster.request("POST", path, body)
        if status == 409:
            status, answer = self.cluster.request("PUT", f"{path}/{name}", body)
        assert status in (200, 201), answer

    def delete_secret(self, name: str) -> None:
        path = f"/api/v1/namespaces/{self.namespace}/secrets/{name}"
        assert self.cluster.request("DELETE", path)[0] == 200
