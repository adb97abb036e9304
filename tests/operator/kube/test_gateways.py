"""Each gateway pod is read by itself, on the port that serves metrics."""

from typing import Any

import pytest

from kube_store import Store, StoreClient
from pagelet_operator.kube.api import Api
from pagelet_operator.kube.gateways import GatewayPods
from pagelet_operator.kube.install_gateway import gateway

NAMESPACE = "pagelet-system"


def pod(name: str, address: str | None, ports: list[dict[str, Any]], **labels: str) -> Any:
    ours = {"app.kubernetes.io/name": "pagelet", "app.kubernetes.io/component": "gateway"}
    return {
        "metadata": {"name": name, "labels": ours | labels},
        "spec": {"containers": [{"name": "gateway", "ports": ports}]},
        "status": {"podIP": address} if address else {},
    }


HTTP, METRICS = ({"name": "http", "containerPort": 1}, {"name": "metrics", "containerPort": 2})


async def found(*pods: Any) -> list[str]:
    store = Store()
    for item in pods:
        assert store.request("POST", f"/api/v1/namespaces/{NAMESPACE}/pods", item)[0] == 201
    return list(await GatewayPods(Api(StoreClient(store)), NAMESPACE)())  # type: ignore[arg-type]


async def test_every_pod_with_an_address_is_read_where_it_serves_metrics() -> None:
    assert await found(
        pod("a", "10.0.0.1", [HTTP, METRICS]),
        pod("b", "fd00::1", [HTTP]),
        pod("c", None, [HTTP]),
        pod("d", "10.0.0.4", []),
    ) == ["http://10.0.0.1:2", "http://[fd00::1]:1"]


async def test_pods_of_other_programs_are_left_alone() -> None:
    assert await found(pod("x", "10.0.0.1", [HTTP], **{"app.kubernetes.io/name": "nginx"})) == []


async def test_what_install_yaml_makes_is_found() -> None:
    deployment = next(item for item in gateway() if item["kind"] == "Deployment")
    template = deployment["spec"]["template"]
    made = {"metadata": {"name": "g", **template["metadata"]}, "spec": template["spec"]}
    made["status"] = {"podIP": "10.0.0.9"}
    assert len(await found(made)) == 1
    assert deployment["metadata"]["namespace"] == NAMESPACE


async def test_a_server_that_does_not_say_is_an_os_error() -> None:
    class Deaf:
        async def param_serialize(self, **_: Any) -> tuple[()]:
            raise TimeoutError

    with pytest.raises(OSError, match="GET"):
        await GatewayPods(Api(Deaf()), NAMESPACE)()  # type: ignore[arg-type]
