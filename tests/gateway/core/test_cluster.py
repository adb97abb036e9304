"""Objects of a cluster: ready pods become addresses, and no shape of an object breaks a gateway."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagelet_gateway.core.cluster import addresses, metrics_ports, resource_of, slice_of

json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["metadata", "status", "traffic", "endpoints", "addresses", "ports", "name",
                         "port", "conditions", "labels", "addressType", "targetRef"]),
        inner, max_size=4),
    max_leaves=15,
)  # fmt: skip


def a_slice(
    *endpoints: dict, kind: str = "IPv4", service: str = "chat-a", namespace: str = "ns"
) -> dict:
    return {
        "metadata": {"namespace": namespace, "labels": {"kubernetes.io/service-name": service}},
        "addressType": kind,
        "ports": [{"name": "metrics", "port": 9}, {"name": "http", "port": 8000}],
        "endpoints": list(endpoints),
    }


def pod(address: str, uid: str | None = None, **conditions: bool | None) -> dict:
    return {"addresses": [address], "conditions": conditions, "targetRef": {"uid": uid}}


def urls(*slices: dict) -> tuple[str, ...]:
    return addresses(map(slice_of, slices)).get(("ns", "chat-a"), ())


@given(st.dictionaries(st.sampled_from(["metadata", "status", "endpoints", "ports"]), json))
def test_no_shape_of_an_object_is_an_error(item):
    for shape in (item, {**item, "addressType": "IPv4"}):
        for url in addresses([slice_of(shape)]).values():
            assert all(each.startswith("http://") for each in url)
        assert all(0 < port < 65536 for port in metrics_ports([slice_of(shape)]).values())
    traffic = resource_of(item).traffic
    assert traffic is None or traffic == item["status"]["traffic"]


@pytest.mark.parametrize(
    ("conditions", "takes"),
    [
        ({}, True),
        ({"ready": True}, True),
        ({"ready": None}, True),
        ({"ready": False}, False),
        ({"ready": False, "serving": True, "terminating": True}, False),
        ({"ready": True, "terminating": True}, False),
    ],
)
def test_only_pods_that_are_ready_and_do_not_end_take_requests(conditions, takes):
    assert urls(a_slice(pod("10.0.0.1", **conditions))) == (
        ("http://10.0.0.1:8000",) if takes else ()
    )


def test_a_pod_in_two_slices_counts_once_and_by_ipv4_where_it_has_both():
    both = (a_slice(pod("fd00::1", "u"), kind="IPv6"), a_slice(pod("10.0.0.1", "u")))
    assert urls(*both) == urls(*reversed(both)) == ("http://10.0.0.1:8000",)
    assert urls(a_slice(pod("fd00::1", "u"), kind="IPv6")) == ("http://[fd00::1]:8000",)


def test_names_that_need_a_resolver_and_ports_of_other_names_are_left_out():
    assert urls(a_slice(pod("host.example"), kind="FQDN")) == ()
    other = a_slice(pod("10.0.0.1"))
    other["ports"] = [{"name": "metrics", "port": 9}]
    assert urls(other) == ()


@pytest.mark.parametrize(("port", "found"), [(9, {"http://10.0.0.1:8000": 9}), (0, {}), ("9", {})])
def test_a_port_named_metrics_is_where_the_metrics_are(port, found):
    one = a_slice(pod("10.0.0.1"))
    one["ports"][0]["port"] = port
    assert metrics_ports([slice_of(one)]) == found


def test_a_service_of_the_same_name_elsewhere_is_another():
    assert urls(a_slice(pod("10.0.0.1"), namespace="theirs")) == ()


@given(st.permutations(range(6)))
def test_the_order_of_slices_and_endpoints_changes_nothing(order):
    slices = [a_slice(pod(f"10.0.0.{index}")) for index in order]
    assert urls(*slices) == tuple(f"http://10.0.0.{index}:8000" for index in range(6))


def test_how_the_rollout_stands_is_taken_without_what_changes_all_the_time():
    rollout = {"phase": "Progressing", "message": "step 1", "stepStartedAt": "2031-01-01T00:00:00Z"}
    said = resource_of({"status": {"rollout": rollout}}).rollout
    assert said["phase"] == "Progressing"
    assert "stepStartedAt" not in said
    assert resource_of({"status": {}}).rollout is None
