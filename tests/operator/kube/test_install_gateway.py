"""What runs the gateways: reading rights only, an orderly end, and a place to find them."""

from pagelet_operator.kube.command import DEFAULT_GATEWAY_URL
from pagelet_operator.kube.install_gateway import (
    DRAIN_DELAY_S,
    DRAIN_S,
    NAME,
    NAMESPACE,
    gateway,
    gateway_rbac,
)

OBJECTS = {(item["kind"], item["metadata"]["name"]): item for item in gateway()}
SPEC = OBJECTS["Deployment", NAME]["spec"]


def test_a_gateway_may_read_these_and_write_nothing() -> None:
    (role,) = (item for item in gateway_rbac() if item["kind"] == "ClusterRole")
    rights = {
        f"{group}/{resource}": rule["verbs"]
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    }
    assert rights == {
        "pagelet.dev/modeldeployments": ["list", "watch"],
        "discovery.k8s.io/endpointslices": ["list", "watch"],
        "/secrets": ["get"],
    }


def test_status_names_the_service_that_leads_to_the_gateways() -> None:
    service = OBJECTS["Service", NAME]["spec"]
    assert f"http://{NAME}.{NAMESPACE}.svc/v1" == DEFAULT_GATEWAY_URL
    assert service["ports"][0]["port"] == 80
    assert service["selector"].items() <= SPEC["template"]["metadata"]["labels"].items()


def test_a_pod_is_given_the_time_its_streams_may_take() -> None:
    pod = SPEC["template"]["spec"]
    assert pod["terminationGracePeriodSeconds"] > DRAIN_DELAY_S + DRAIN_S
    assert {f"--drain-delay={DRAIN_DELAY_S}", f"--drain-timeout={DRAIN_S}"} <= set(
        pod["containers"][0]["args"]
    )


def test_no_rollout_and_no_eviction_takes_all_gateways_away() -> None:
    assert SPEC["replicas"] > 1
    assert SPEC["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
    assert OBJECTS["PodDisruptionBudget", NAME]["spec"]["maxUnavailable"] == 1
