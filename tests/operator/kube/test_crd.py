"""The CRD: a structural schema the API server takes, and what it refuses because of it."""

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from kube_cluster import Cluster
from kube_fixtures import MODELS
from operator_resources import BAD, BAD_FOR_PARSE_ONLY, LEFT_OUT, MINIMAL, resource
from pagelet_operator.api.resource import InvalidResourceError, parse, to_model
from pagelet_operator.kube.crd import CRD_NAME, crd, spec_schema, status_schema

SAMPLES = sorted((Path(__file__).parents[3] / "manifests" / "samples").glob("*.yaml"))


def nodes(schema: dict[str, Any], path: str = "") -> list[tuple[str, dict[str, Any]]]:
    found = [(path, schema)]
    for name, inner in schema.get("properties", {}).items():
        found += nodes(inner, f"{path}.{name}")
    for key in ("items", "additionalProperties"):
        if key in schema:
            found += nodes(schema[key], f"{path}[]")
    return found


EVERY_NODE = nodes(spec_schema(), "spec") + nodes(status_schema(), "status")


@pytest.mark.parametrize("schema", [node for _, node in EVERY_NODE], ids=[p for p, _ in EVERY_NODE])
def test_every_field_is_structural_and_described(schema: dict[str, Any]) -> None:
    assert "type" in schema or schema.get("x-kubernetes-int-or-string")
    assert not {"$ref", "$defs", "anyOf", "allOf", "title", "const"} & schema.keys()
    assert schema.get("additionalProperties") is not False
    assert "description" in schema or "items" not in schema


def test_only_fields_whose_change_restarts_nothing_are_defaulted_by_the_server() -> None:
    defaulted = {path for path, node in EVERY_NODE if "default" in node}
    parts = {path.split(".")[1] for path in defaulted}
    assert parts == {"limits", "scaling", "rollout", "routing", "circuitBreaker"}
    assert "spec.scaling.minReplicas" in defaulted, "the scale subresource needs a value"


def test_nothing_keeps_unknown_fields() -> None:
    is_open = [p for p, node in EVERY_NODE if node.get("x-kubernetes-preserve-unknown-fields")]
    assert is_open == []


def test_conditions_are_a_map_by_type_so_that_two_writers_do_not_lose_each_others() -> None:
    conditions = status_schema()["properties"]["conditions"]
    assert conditions["x-kubernetes-list-type"] == "map"
    assert conditions["x-kubernetes-list-map-keys"] == ["type"]


def test_every_call_returns_a_document_of_its_own() -> None:
    crd()["spec"]["versions"][0]["name"] = "changed"
    assert crd()["spec"]["versions"][0]["name"] == "v1alpha1"


@pytest.mark.cluster
class TestOnTheApiServer:
    def test_the_crd_is_established_with_no_complaint(self, cluster: Cluster) -> None:
        path = f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{CRD_NAME}"
        conditions = {c["type"]: c for c in cluster.get(path)["status"]["conditions"]}
        assert conditions["Established"]["status"] == "True"
        assert conditions["NamesAccepted"]["status"] == "True"
        assert conditions.get("NonStructuralSchema", {}).get("status") != "True"

    @pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.name)
    def test_the_samples_are_admitted_strictly_and_parse(
        self, cluster: Cluster, namespace: str, sample: Path
    ) -> None:
        for document in yaml.safe_load_all(sample.read_text()):
            if document["kind"] == "Secret":
                path = f"/api/v1/namespaces/{namespace}/secrets?fieldValidation=Strict"
                assert cluster.request("POST", path, document)[0] == 201
                continue
            status, stored = post(cluster, namespace, document)
            assert status == 201, stored
            # Neither defaulting nor the trip through the server may change the revision, or
            # what is asked of the gateway.
            assert to_model(parse(stored)).revision == to_model(parse(document)).revision
            assert to_model(parse(stored)).traffic == to_model(parse(document)).traffic

    @pytest.mark.parametrize("document", [c[1] for c in LEFT_OUT], ids=[c[0] for c in LEFT_OUT])
    def test_null_means_to_the_server_what_it_means_to_the_models(
        self, cluster: Cluster, namespace: str, document: dict[str, Any]
    ) -> None:
        status, stored = post(cluster, namespace, document)
        assert status == 201, stored
        found, wanted = to_model(parse(stored)), to_model(parse(document))
        assert (found.revision, found.rollout) == (wanted.revision, wanted.rollout)
        assert found.traffic == wanted.traffic

    @pytest.mark.parametrize(
        ("document", "field"), [case[1:] for case in BAD], ids=[case[0] for case in BAD]
    )
    def test_what_the_models_refuse_the_server_refuses_and_names_the_field(
        self, cluster: Cluster, document: dict[str, Any], field: str
    ) -> None:
        with pytest.raises(InvalidResourceError):
            parse(document)
        status, answer = post(cluster, "default", document)
        assert status in (400, 422), answer
        assert field in answer["message"]

    def test_a_duration_without_unit_is_told_how_to_write_it(
        self, cluster: Cluster, namespace: str
    ) -> None:
        document = resource(rollout={"steps": [{"weight": 5, "hold": "30"}]})
        assert "write it as 90s, 2m or 1h30m" in post(cluster, namespace, document)[1]["message"]

    @pytest.mark.parametrize(
        "document", [case[1] for case in BAD_FOR_PARSE_ONLY], ids=[c[0] for c in BAD_FOR_PARSE_ONLY]
    )
    def test_what_only_the_models_refuse_is_stored(
        self, cluster: Cluster, namespace: str, document: dict[str, Any]
    ) -> None:
        assert post(cluster, namespace, document)[0] == 201

    def test_the_models_name_cannot_change(self, cluster: Cluster, namespace: str) -> None:
        assert post(cluster, namespace, resource(model={"name": "a"}))[0] == 201
        for change in ({"name": "b"}, {"name": None}):
            status, answer = cluster.request(
                "PATCH",
                f"{MODELS.format(namespace)}/chat",
                {"spec": {"model": change}},
                kind="application/merge-patch+json",
            )
            assert status == 422
            assert "model.name cannot change" in answer["message"]

    def test_writing_a_spec_does_not_write_status(self, cluster: Cluster, namespace: str) -> None:
        document = copy.deepcopy(MINIMAL) | {"status": {"replicas": 5}}
        status, stored = post(cluster, namespace, document)
        assert (status, stored.get("status")) == (201, None)

    def test_columns_tell_where_the_rollout_stands(self, cluster: Cluster, namespace: str) -> None:
        assert post(cluster, namespace, MINIMAL)[0] == 201
        table = cluster.kubectl("-n", namespace, "get", "mdep")
        assert table.splitlines()[0].split() == [
            "NAME", "READY", "STABLE", "CANARY", "WEIGHT", "P99", "TTFT", "REPLICAS", "PHASE",
            "AGE",
        ]  # fmt: skip
        assert "chat" in cluster.kubectl("-n", namespace, "get", "all")


def post(cluster: Cluster, namespace: str, document: dict[str, Any]) -> tuple[int, Any]:
    path = f"{MODELS.format(namespace)}?fieldValidation=Strict"
    return cluster.request("POST", path, document)
