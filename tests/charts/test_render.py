"""The chart under thirty and more sets of values: what it makes is sound in each of them."""

from typing import Any

import helm_python
import jsonschema
import pytest
import yaml

from chart_render import (
    CHART,
    COMBINATIONS,
    NAMESPACE,
    ROOT,
    breaches,
    kinds,
    notes,
    one,
    pods,
    render,
)
from pagelet_operator.kube import command
from pagelet_operator.kube.crd import crd

every_combination = pytest.mark.parametrize("values", COMBINATIONS.values(), ids=COMBINATIONS)


def installed() -> list[dict[str, Any]]:
    text = (ROOT / "manifests" / "install.yaml").read_text("utf-8")
    return [found for found in yaml.safe_load_all(text) if found]


def flags(objects: list[dict[str, Any]], name: str) -> dict[str, str]:
    [container] = one(objects, "Deployment", name)["spec"]["template"]["spec"]["containers"]
    return {flag: value for flag, _, value in (item.partition("=") for item in container["args"])}


@every_combination
def test_every_object_has_a_name_of_its_own_and_the_labels_of_the_release(values):
    objects = render(values)
    keys = [
        (item["kind"], item["metadata"].get("namespace"), item["metadata"]["name"])
        for item in objects
    ]
    assert len(set(keys)) == len(keys)
    for item in objects:
        labels = item["metadata"]["labels"]
        assert labels["app.kubernetes.io/instance"] == "pagelet"
        assert labels["app.kubernetes.io/managed-by"] == "Helm"
        assert len(item["metadata"]["name"]) <= 63


@every_combination
def test_every_pod_is_restricted(values):
    found = dict(pods(render(values)))
    assert len(found) == 3
    assert {name: breaches(spec) for name, spec in found.items() if breaches(spec)} == {}


@every_combination
def test_whatever_is_named_exists(values):
    objects = render(values)
    there = {(item["kind"], item["metadata"]["name"]) for item in objects}
    for item in objects:
        for reference in references(item):
            assert reference in there, f"{item['kind']} {item['metadata']['name']}: {reference}"


def references(item: dict[str, Any]) -> list[tuple[str, str]]:
    found = []
    if item["kind"].endswith("Binding"):
        found.append((item["roleRef"]["kind"], item["roleRef"]["name"]))
        found += [(subject["kind"], subject["name"]) for subject in item["subjects"]]
    if item["kind"] == "HorizontalPodAutoscaler":
        target = item["spec"]["scaleTargetRef"]
        found.append((target["kind"], target["name"]))
    for _, spec in pods([item]):
        if "serviceAccountName" in spec:
            found.append(("ServiceAccount", spec["serviceAccountName"]))
        for arg in spec["containers"][0].get("args", ()):
            flag, _, value = arg.partition("=")
            if flag == "--replicas-service":
                found.append(("Service", value.split(".")[0]))
            if flag == "--gateway-url":
                found.append(("Service", value.removeprefix("http://").split(".")[0]))
    return found


@every_combination
def test_selectors_find_the_pods_they_mean(values):
    objects = render(values)
    labels = {
        item["metadata"]["name"]: item["spec"]["template"]["metadata"]["labels"]
        for item in objects
        if item["kind"] == "Deployment"
    }
    for item in objects:
        selector = {
            "Service": lambda spec: spec["selector"],
            "Deployment": lambda spec: spec["selector"]["matchLabels"],
            "PodDisruptionBudget": lambda spec: spec["selector"]["matchLabels"],
        }.get(item["kind"])
        if selector is None:
            continue
        wanted = selector(item["spec"]).items()
        name = item["metadata"]["name"].removesuffix("-replicas")
        assert [other for other, found in labels.items() if wanted <= found.items()] == [name]


@every_combination
def test_nobody_may_do_everything_or_list_secrets(values):
    for item in render(values):
        for rule in item.get("rules", ()):
            assert "*" not in [*rule["apiGroups"], *rule["resources"], *rule["verbs"]]
            if "secrets" in rule["resources"]:
                assert not {"list", "watch", "update", "patch", "delete"} & set(rule["verbs"])


@pytest.mark.parametrize("component", ["operator", "gateway"])
def test_the_rights_are_those_of_install_yaml(component):
    name = f"pagelet-{component}"
    wanted = one(installed(), "ClusterRole", name)["rules"]
    assert one(render(), "ClusterRole", name)["rules"] == wanted
    scoped = render({"scope": "Namespace"})
    assert one(scoped, "Role", name)["rules"] == wanted
    assert not {"ClusterRole", "ClusterRoleBinding"} & kinds(scoped)


def test_the_operators_lease_is_its_own_namespaces():
    wanted = one(installed(), "Role", "pagelet-operator-lease")["rules"]
    assert one(render(), "Role", "pagelet-operator-lease")["rules"] == wanted
    assert flags(render(name="blue"), "blue-pagelet-operator")["--lease"] == (
        f"{NAMESPACE}/blue-pagelet-operator"
    )


def test_the_gateway_starts_as_install_yaml_starts_it():
    assert flags(render(), "pagelet-gateway") == flags(installed(), "pagelet-gateway")


def test_the_operator_starts_as_install_yaml_starts_it():
    chart, plain = (flags(objects, "pagelet-operator") for objects in (render(), installed()))
    said_by_both = {
        "--gateway-url": command.DEFAULT_GATEWAY_URL,
        "--gateway-namespace": NAMESPACE,
    }
    assert chart == said_by_both | plain


def test_images_and_ports_are_those_of_install_yaml():
    for name in ("pagelet-operator", "pagelet-gateway"):
        [ours], [plain] = (
            one(objects, "Deployment", name)["spec"]["template"]["spec"]["containers"]
            for objects in (render(), installed())
        )
        for key in ("image", "command", "ports", "livenessProbe", "readinessProbe", "resources"):
            assert ours[key] == plain[key], key


def test_the_crd_is_the_generated_one_and_outlives_the_release():
    found = one(render(), "CustomResourceDefinition", "modeldeployments.pagelet.dev")
    assert found["spec"] == crd()["spec"]
    assert found["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}


def test_a_release_in_one_namespace_stays_in_it():
    objects = render({"scope": "Namespace"}, namespace="team")
    assert {item["metadata"].get("namespace") for item in objects} == {"team", None}
    outside = {item["kind"] for item in objects if "namespace" not in item["metadata"]}
    assert outside == {"CustomResourceDefinition"}
    for component in ("operator", "gateway"):
        assert flags(objects, f"pagelet-{component}")["--namespace"] == "team"


def test_releases_of_other_names_do_not_collide():
    names = [
        {item["metadata"]["name"] for item in render({"crd": {"install": False}}, name=name)}
        for name in ("pagelet", "blue")
    ]
    assert not names[0] & names[1]


def test_policies_let_in_whom_they_name():
    peer = {"podSelector": {"matchLabels": {"app": "web"}}}
    values = {"networkPolicy": {"clients": [peer], "modelNamespaces": ["chat"]}}
    objects = render(values)
    # `helm test` asks both.
    test = one(objects, "Pod", "pagelet-test")["metadata"]["labels"]
    for name in ("gateway", "operator"):
        policy = one(objects, "NetworkPolicy", f"pagelet-{name}")["spec"]["ingress"][0]
        labels = policy["from"][-1]["podSelector"]["matchLabels"]
        assert labels.items() <= test.items()
    clients, metrics = one(objects, "NetworkPolicy", "pagelet-gateway")["spec"]["ingress"]
    assert clients["from"][0] == peer
    assert clients["from"][1]["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == "test"
    assert [port["port"] for port in metrics["ports"]] == ["metrics"]
    engines = one(objects, "NetworkPolicy", "pagelet-engines")
    assert engines["metadata"]["namespace"] == "chat"
    assert engines["spec"]["policyTypes"] == ["Ingress"]


def test_the_notes_name_the_service_and_warn_of_open_models():
    text = notes(name="blue")
    assert "service/blue-pagelet-gateway" in text
    assert "answer everybody" in text
    assert "answer everybody" not in notes({"gateway": {"requireKeys": True}})


@pytest.mark.parametrize(
    "values",
    [
        {"replicas": 2},
        {"gateway": {"replica": 2}},
        {"gateway": {"autoscaling": {"max": 3}}},
        {"scope": "Everywhere"},
        {"gateway": {"replicas": "two"}},
        {"gateway": {"drain": {"delaySeconds": -1}}},
        {"gateway": {"service": {"type": "ExternalName"}}},
        {"gateway": {"podLabels": {"app.kubernetes.io/name": "x"}}},
        {"operator": {"prometheusUrl": "prometheus:9090"}},
        {"networkPolicy": {"clients": [{}]}},
        {"networkPolicy": {"apiServerPorts": []}},
        {"monitoring": {"interval": "15"}},
        {"monitoring": {"monitors": "maybe"}},
        {"image": {"pullSecrets": ["login"]}},
    ],
    ids=str,
)
def test_values_that_mean_nothing_are_refused(values):
    with helm_python.Chart.load(CHART) as chart, pytest.raises(helm_python.HelmError):
        chart.validate_schema(values)


@pytest.mark.parametrize(
    ("gateway", "words"),
    [
        ({"autoscaling": {"enabled": True, "minReplicas": 11}}, "above maxReplicas"),
        (
            {"autoscaling": {"enabled": True}, "resources": {"requests": {"cpu": None}}},
            "requests.cpu",
        ),
    ],
)
def test_values_that_contradict_each_other_are_refused_with_what_to_do(gateway, words):
    with pytest.raises(helm_python.HelmError, match=words):
        render({"gateway": gateway})


def test_every_value_is_commented_on_and_known_to_the_schema():
    with helm_python.Chart.load(CHART) as chart:
        schema, values = chart.schema, chart.values
    jsonschema.Draft202012Validator.check_schema(schema)
    assert unknown(values, schema) == []
    assert set(schema["properties"]) == {*values, "global"}


def unknown(values: dict[str, Any], schema: dict[str, Any]) -> list[str]:
    """Keys of the defaults that the schema lacks, and the other way round."""
    known = schema.get("properties")
    if known is None:
        return []
    found = sorted(set(values) ^ (set(known) - {"global", "limits", "requests", "claims"}))
    found = [key for key in found if key not in ("limits", "requests")]
    for key, value in values.items():
        if isinstance(value, dict):
            found += unknown(value, known.get(key, {}))
    return found


def test_lint_finds_nothing():
    report = helm_python.lint(CHART, strict=True)
    assert [m for m in report["messages"] if m["severity"] > 1] == []
    assert report["errors"] == []


def test_thirty_sets_of_values_are_tried():
    assert len(COMBINATIONS) >= 30
