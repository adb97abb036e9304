import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagelet_gateway.core.route_table import (
    DEFAULT_REQUEST_TIMEOUT_S,
    BreakerPolicy,
    Policy,
    Quota,
    Role,
    Stickiness,
)
from pagelet_gateway.core.table_fields import RouteTableError
from pagelet_gateway.core.table_parser import parse

ROOT = Path(__file__).parents[3]


def revision(**fields: Any) -> dict[str, Any]:
    endpoints = [{"url": "http://127.0.0.1:8000"}]
    return {"name": "m-1", "role": "stable", "weight": 100, "endpoints": endpoints} | fields


def document(*revisions: dict[str, Any], **fields: Any) -> dict[str, Any]:
    model = {
        "name": "m",
        "resource": "default/m",
        "generation": 1,
        "revisions": list(revisions or [revision()]),
    }
    return {"schemaVersion": 1, "models": [model | fields]}


def test_a_table_becomes_plain_data():
    route = parse(json.dumps(document(requestTimeoutSeconds=30)).encode()).models["m"]
    assert route.resource == "default/m"
    assert route.request_timeout_s == 30.0
    assert route.revisions[0].role is Role.STABLE
    assert route.revisions[0].endpoints == ("http://127.0.0.1:8000",)
    assert route.is_servable


def test_what_is_optional_has_a_default_and_unknown_fields_are_ignored():
    route = parse(document(later={"x": 1})).models["m"]
    assert route.request_timeout_s == DEFAULT_REQUEST_TIMEOUT_S


def test_weights_may_all_be_zero_and_then_nothing_serves():
    route = parse(document(revision(weight=0))).models["m"]
    assert route.serving == ()
    assert not route.is_servable


def test_a_share_without_an_endpoint_does_not_serve():
    assert not parse(document(revision(endpoints=[]))).models["m"].is_servable


def test_the_example_of_the_reference_is_a_table():
    example = ROOT / "docs/reference/route-table.example.json"
    assert set(parse(example.read_bytes()).models) == {"smollm2-135m", "qwen3-8b"}


BAD_TABLES = [
    (b"", "$"),
    (b"{", "$"),
    (b"\xff", "$"),
    (b"[" * 100_000, "$"),
    ([], "$"),
    ({}, "$.schemaVersion"),
    ({"schemaVersion": 2, "models": []}, "$.schemaVersion"),
    ({"schemaVersion": True, "models": []}, "$.schemaVersion"),
    ({"schemaVersion": 1}, "$.models"),
    ({"schemaVersion": 1, "models": {}}, "$.models"),
    ({"schemaVersion": 1, "models": ["m"]}, "$.models[0]"),
    (document(name=""), "$.models[0].name"),
    (document(name=7), "$.models[0].name"),
    (document(resource=None), "$.models[0].resource"),
    (document(generation=-1), "$.models[0].generation"),
    (document(generation=1.5), "$.models[0].generation"),
    (document(requestTimeoutSeconds=0), "$.models[0].requestTimeoutSeconds"),
    (document(requestTimeoutSeconds=float("nan")), "$.models[0].requestTimeoutSeconds"),
    (document(requestTimeoutSeconds=True), "$.models[0].requestTimeoutSeconds"),
    (document(requestTimeoutSeconds="60s"), "$.models[0].requestTimeoutSeconds"),
    (document(revisions="m-1"), "$.models[0].revisions"),
    (document(revision(role="primary")), "$.models[0].revisions[0].role"),
    (document(revision(weight=101)), "$.models[0].revisions[0].weight"),
    (document(revision(weight=-1)), "$.models[0].revisions[0].weight"),
    (document(revision(weight=50.0)), "$.models[0].revisions[0].weight"),
    (document(revision(weight=True)), "$.models[0].revisions[0].weight"),
    (document(revision(weight=99)), "$.models[0].revisions"),
    (document(revision(), revision(name="m-2")), "$.models[0].revisions"),
    (document(revision(), revision(weight=0)), "$.models[0].revisions[1].name"),
    (document(revision(endpoints=None)), "$.models[0].revisions[0].endpoints"),
    (document(revision(endpoints=["http://a"])), "$.models[0].revisions[0].endpoints[0]"),
    (document(revision(endpoints=[{}])), "$.models[0].revisions[0].endpoints[0].url"),
]

BAD_PARTS: list[tuple[dict[str, Any], str]] = [
    ({"limits": []}, "limits"),
    ({"limits": {"maxPromptTokens": 0}}, "limits.maxPromptTokens"),
    ({"limits": {"maxOutputTokens": "9"}}, "limits.maxOutputTokens"),
    ({"limits": {"tokensPerMinute": True}}, "limits.tokensPerMinute"),
    ({"tenants": {}}, "tenants"),
    ({"tenants": [{}]}, "tenants[0].name"),
    ({"tenants": [{"name": "a"}, {"name": "a"}]}, "tenants[1].name"),
    ({"tenants": [{"name": "a", "keys": [{"sha256": "ab"}]}]}, "tenants[0].keys[0].sha256"),
    ({"tenants": [{"name": "a", "weight": 1001}]}, "tenants[0].weight"),
    ({"tenants": [{"name": "a", "mayChooseRevision": 1}]}, "tenants[0].mayChooseRevision"),
    ({"routing": {"policy": "Fastest"}}, "routing.policy"),
    ({"routing": {"stickiness": None}}, "routing.stickiness"),
    ({"routing": {"mirrorPercent": 101}}, "routing.mirrorPercent"),
    ({"circuitBreaker": {"errorRatePercent": 0}}, "circuitBreaker.errorRatePercent"),
    ({"circuitBreaker": {"openForSeconds": -1}}, "circuitBreaker.openForSeconds"),
    ({"fallback": [{}]}, "fallback[0]"),
    ({"fallback": [{"model": "a", "url": "http://b"}]}, "fallback[0]"),
    ({"fallback": [{"url": "http://b"}]}, "fallback[0].urlModel"),
    ({"fallback": [{"url": "b", "urlModel": "x"}]}, "fallback[0].url"),
    ({"fallback": [{"url": "http://u:p@b", "urlModel": "x"}]}, "fallback[0].url"),
]

BAD_URLS = [
    "", "127.0.0.1:8000", "ftp://host", "http://", "http:///", "http://host/v1", "http://host?x",
    "http://user@host", "http://ho st", "http://host:0", "http://host:65536", "http://host:x",
    "http://:80", "http://hóst", "http://host\n", "http://host:" + "9" * 5000,
]  # fmt: skip

UNUSABLE: list[tuple[dict[str, Any], str]] = [
    ({"requestTimeoutSeconds": 10**400}, "requestTimeoutSeconds"),
    ({"name": "\ud800"}, "name"),
    ({"revisions": [revision(name="a\r\nx: 1")]}, "revisions[0].name"),
    ({"gatewayKey": "a\r\nb: c"}, "gatewayKey"),
    ({"fallback": [{"url": "http://b", "urlModel": "x", "apiKey": "a\nb"}]}, "fallback[0].apiKey"),
    *(
        ({"fallback": [{"url": url, "urlModel": "x"}]}, "fallback[0].url")
        for url in ("http://b:99999/v1", "http://b:0", "http://[::1/v1", "http://b:x/v1")
    ),
    *(
        ({"revisions": [revision(endpoints=[{"url": url}])]}, "revisions[0].endpoints[0].url")
        for url in ("http://[::1", "http://]:80", "http://::1:80", "http://[]")
    ),
]
"""What a schema lets pass and every request would fail by."""


@pytest.mark.parametrize(("fields", "path"), UNUSABLE)
def test_what_no_request_could_be_sent_with_is_refused(fields, path):
    with pytest.raises(RouteTableError) as refusal:
        parse(document(**fields))
    assert refusal.value.path == f"$.models[0].{path}"


@pytest.mark.parametrize(("raw", "path"), BAD_TABLES)
def test_a_broken_rule_is_refused_with_the_path_of_the_field(raw, path):
    with pytest.raises(RouteTableError) as refusal:
        parse(raw)
    assert refusal.value.path == path
    assert str(refusal.value).startswith(f"{path}: ")
    assert "\n" not in str(refusal.value)
    assert len(str(refusal.value)) < 400


@pytest.mark.parametrize(("fields", "path"), BAD_PARTS)
def test_a_bad_limit_tenant_or_policy_is_refused_with_its_path(fields, path):
    with pytest.raises(RouteTableError) as refusal:
        parse(document(**fields))
    assert refusal.value.path == f"$.models[0].{path}"


def test_a_key_belongs_to_one_tenant():
    tenants = [{"name": name, "keys": [{"sha256": "a" * 64}]} for name in ("a", "b")]
    with pytest.raises(RouteTableError, match=r"tenants\[1\].keys: 'b' has a key of 'a'"):
        parse(document(tenants=tenants))


def test_limits_tenants_routing_breaker_and_fallback_become_plain_data():
    route = parse(
        document(
            revision(maxConcurrentRequests=7),
            limits={"maxPromptTokens": 100, "maxOutputTokens": 50, "requestsPerMinute": 60},
            tenants=[
                {"name": "a", "keys": [{"sha256": "a" * 64}], "weight": 3, "priority": -1,
                 "tokensPerMinute": 1000, "mayChooseRevision": True}
            ],
            routing={"policy": "PrefixAware", "stickiness": "User", "mirrorPercent": 5},
            circuitBreaker={"consecutiveErrors": 2, "maxEjectedPercent": 0},
            fallback=[{"model": "b"}, {"url": "https://h/v1/", "urlModel": "g", "apiKey": "s3c"}],
            gatewayKey="k3y",
        )
    ).models["m"]  # fmt: skip
    assert route.revisions[0].quota == Quota(max_concurrent_requests=7)
    assert (route.caps.max_prompt_tokens, route.caps.max_output_tokens) == (100, 50)
    assert route.quota == Quota(requests_per_minute=60)
    assert route.tenants is not None
    (tenant,) = route.tenants
    assert (tenant.weight, tenant.priority, tenant.may_choose_revision) == (3, -1, True)
    assert tenant.key_hashes == {"a" * 64}
    assert tenant.quota == Quota(tokens_per_minute=1000)
    assert route.routing.policy is Policy.PREFIX_AWARE
    assert route.routing.stickiness is Stickiness.USER
    assert route.breaker == BreakerPolicy(consecutive_errors=2, max_ejected_percent=0)
    assert [(link.model, link.url) for link in route.fallback] == [
        ("b", None),
        (None, "https://h/v1"),
    ]
    assert route.gateway_key == "k3y"
    assert "s3c" not in repr(route)
    assert "k3y" not in repr(route)


def test_without_tenants_anybody_and_with_an_empty_list_nobody_may():
    assert parse(document()).models["m"].tenants is None
    assert parse(document(tenants=[])).models["m"].tenants == ()


@pytest.mark.parametrize("url", BAD_URLS)
def test_an_endpoint_is_scheme_host_and_port(url):
    with pytest.raises(RouteTableError) as refusal:
        parse(document(revision(endpoints=[{"url": url}])))
    assert refusal.value.path.endswith("endpoints[0].url")


@pytest.mark.parametrize("url", ["http://h", "https://h:1", "http://[::1]", "http://[::1]:65535"])
def test_sound_endpoints_are_taken_without_their_slash(url):
    table = parse(document(revision(endpoints=[{"url": url + "/"}])))
    assert table.models["m"].revisions[0].endpoints == (url,)


def test_names_are_unique():
    twice = document()
    twice["models"] *= 2
    with pytest.raises(RouteTableError, match=r"models\[1\].name: 'm' occurs twice"):
        parse(twice)
    same_url = revision(endpoints=[{"url": "http://a"}, {"url": "http://a/"}])
    with pytest.raises(RouteTableError, match=r"endpoints\[1\].url"):
        parse(document(same_url))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
FIELDS = [("models", 0, key) for key in ("name", "resource", "generation", "revisions")] + [
    ("models", 0, "revisions", 0, key) for key in ("name", "role", "weight", "endpoints")
]
FIELDS += [
    ("models", 0, key) for key in ("limits", "tenants", "routing", "circuitBreaker", "fallback")
] + [("models", 0, "requestTimeoutSeconds")]


@given(field=st.sampled_from(FIELDS), value=json_values)
def test_any_value_in_any_field_is_taken_or_refused_never_a_crash(field, value):
    raw: Any = document()
    inner = raw
    for key in field[:-1]:
        inner = inner[key]
    inner[field[-1]] = value
    try:
        table = parse(raw)
    except RouteTableError:
        return
    for route in table.models.values():
        assert sum(item.weight for item in route.revisions) in (0, 100)


@given(st.binary(max_size=64))
def test_any_bytes_are_taken_or_refused(raw):
    with pytest.raises(RouteTableError):
        parse(raw)


NOT_IN_THE_SCHEMA = ("$.models[0].revisions", "$.models[0].revisions[1].name")
"""Sums and uniqueness across objects; JSON Schema also takes 50.0 for an integer and NaN."""


def test_the_schema_takes_the_example_and_refuses_what_the_parser_refuses():
    schema = json.loads((ROOT / "docs/reference/route-table.schema.json").read_text())
    example = json.loads((ROOT / "docs/reference/route-table.example.json").read_text())
    validator = jsonschema.Draft202012Validator(schema)
    validator.check_schema(schema)
    validator.validate(example)
    assert not validator.is_valid(document(typo=1))
    lenient = ("50.0", "nan")
    for raw, path in BAD_TABLES:
        is_whole = path in NOT_IN_THE_SCHEMA or any(value in str(raw) for value in lenient)
        if isinstance(raw, dict) and not is_whole:
            assert not validator.is_valid(raw), raw


@pytest.mark.parametrize(
    ("url", "metrics_url"),
    [
        ("http://10.0.0.1:8000", "http://10.0.0.1:9"),
        ("https://engine", "https://engine:9"),
        ("http://[fd00::1]:8000", "http://[fd00::1]:9"),
        ("http://[fd00::1]", "http://[fd00::1]:9"),
    ],
)
def test_metrics_may_have_a_port_of_their_own(url, metrics_url):
    endpoint = {"url": url, "metricsPort": 9}
    found = parse(document(revision(endpoints=[endpoint]))).models["m"].revisions[0]
    assert found.endpoints == (url,)
    assert found.metrics_urls == {url: metrics_url}


@pytest.mark.parametrize("port", [0, 65536, "9", True])
def test_a_metrics_port_that_is_none_is_refused(port):
    endpoint = {"url": "http://10.0.0.1:8000", "metricsPort": port}
    with pytest.raises(RouteTableError, match="metricsPort"):
        parse(document(revision(endpoints=[endpoint])))
