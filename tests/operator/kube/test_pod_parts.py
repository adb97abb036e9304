"""All of our pods are confined alike."""

from typing import Any

import pytest

from operator_resources import MINIMAL
from pagelet_operator.api.resource import parse, to_model
from pagelet_operator.kube.install import install
from pagelet_operator.kube.pod_parts import confined, probe, unprivileged
from pagelet_operator.kube.pod_template import pod_template

MADE: dict[str, dict[str, Any]] = {
    item["metadata"]["name"]: item["spec"]["template"]["spec"]
    for item in install()
    if item["kind"] == "Deployment"
}
MADE["engine"] = pod_template("chat", "chat-1", to_model(parse(MINIMAL)).template, "image")["spec"]


@pytest.mark.parametrize("name", sorted(MADE))
def test_every_pod_is_unprivileged_and_every_container_confined(name: str) -> None:
    pod = MADE[name]
    assert pod["securityContext"].items() >= unprivileged().items()
    assert pod["containers"]
    for container in pod["containers"]:
        assert container["securityContext"] == confined()
        ports = {port["name"] for port in container["ports"]}
        for kind in ("livenessProbe", "readinessProbe"):
            assert container[kind]["httpGet"]["port"] in ports


def test_every_call_returns_parts_of_its_own() -> None:
    confined()["capabilities"]["drop"].append("none")
    unprivileged()["seccompProfile"]["type"] = "Unconfined"
    assert confined()["capabilities"]["drop"] == ["ALL"]
    assert unprivileged()["seccompProfile"] == {"type": "RuntimeDefault"}
    assert probe("http", "/livez", 10, 3)["timeoutSeconds"] == 5
