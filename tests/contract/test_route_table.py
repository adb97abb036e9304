"""What the operator writes, the gateway obeys: both sides of the route table in one test."""

import dataclasses
import json
from pathlib import Path

import jsonschema
from hypothesis import given, settings
from hypothesis import strategies as st

from operator_models import a_fleet, a_model
from pagelet_gateway.core.standing import standing
from pagelet_gateway.core.table_parser import parse
from pagelet_operator.api.quantities import seconds
from pagelet_operator.api.report import status
from pagelet_operator.api.resource import parse as operator_parse
from pagelet_operator.api.resource import to_model
from pagelet_operator.core.planning import decide
from pagelet_operator.core.rollout import Phase, RolloutState
from pagelet_operator.core.traffic import route_table

DOCS = Path(__file__).resolve().parents[2] / "docs/reference"
SCHEMA = json.loads((DOCS / "route-table.schema.json").read_text())
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)
revisions = st.sampled_from(["chat-a", "chat-b", "chat-c"])
histories = st.lists(
    st.tuples(revisions, st.dictionaries(revisions, st.integers(0, 3)), st.floats(0, 400)),
    min_size=1,
    max_size=12,
)


@settings(max_examples=200, deadline=None)
@given(histories)
def test_every_table_of_every_rollout_is_understood_as_it_was_meant(history):
    state, now = RolloutState(), 0.0
    for target, ready, passed in history:
        now += passed
        outcome = decide(a_model(target), state, a_fleet(ready), now)
        state = outcome.state
        table = route_table([outcome.plan.traffic])
        VALIDATOR.validate(table)
        (model,) = parse(json.dumps(table).encode()).models.values()
        understood = {revision.name: revision.weight for revision in model.revisions}
        assert {name: weight for name, weight in understood.items() if weight} == {
            name: weight for name, weight in outcome.decision.weights.items() if weight
        }
        stored = status(
            a_model(target), outcome, before=None, endpoint=None, selector=None, now=now
        )
        assert standing(stored["rollout"]) == model.standing, "a file and a cluster say the same"


def test_the_documented_example_keeps_to_the_documented_schema_and_parses():
    text = (DOCS / "route-table.example.json").read_text()
    VALIDATOR.validate(json.loads(text))
    assert parse(text.encode()).models


def test_several_models_share_one_table():
    routes = [
        decide(a_model(f"{name}-a", served_name=name), RolloutState(), a_fleet(), 0.0).plan.traffic
        for name in ("chat", "code")
    ]
    assert set(parse(route_table(routes)).models) == {"chat", "code"}


counts = st.none() | st.integers(1, 2**31 - 1)
quotas = {
    "maxConcurrentRequests": counts, "requestsPerMinute": counts, "tokensPerMinute": counts,
}  # fmt: skip
secret_keys = st.fixed_dictionaries({"name": st.just("keys"), "key": st.sampled_from("abc")})
tenants = st.fixed_dictionaries(
    {"name": st.sampled_from(["a", "B-2", "c.d_e"]), "apiKeySecretRef": secret_keys},
    optional=quotas
    | {
        "weight": st.integers(1, 1000),
        "priority": st.integers(-1000, 1000),
        "mayChooseRevision": st.booleans(),
    },
)
links = st.one_of(
    st.fixed_dictionaries({"modelDeployment": st.sampled_from(["small", "gone"])}),
    st.fixed_dictionaries(
        {"url": st.sampled_from(["https://host/v1", "http://[::1]:80"]), "model": st.just("gpt")},
        optional={"apiKeySecretRef": secret_keys},
    ),
)
specs = st.fixed_dictionaries(
    {"model": st.just({"source": "dummy://tiny"})},
    optional={
        "limits": st.fixed_dictionaries(
            {},
            optional=quotas
            | {
                "maxPromptTokens": counts,
                "maxOutputTokens": counts,
                "requestTimeout": st.sampled_from(["1s", "90s", "1h30m"]),
                "canary": st.none() | st.fixed_dictionaries({}, optional=quotas),
                "tenants": st.none()
                | st.lists(tenants, max_size=3, unique_by=lambda tenant: tenant["name"]),
            },
        ),
        "routing": st.fixed_dictionaries(
            {},
            optional={
                "policy": st.sampled_from(["LeastQueue", "PrefixAware", "RoundRobin"]),
                "stickiness": st.sampled_from(["Conversation", "User", "None"]),
                "mirrorPercent": st.integers(0, 100),
            },
        ),
        "circuitBreaker": st.fixed_dictionaries(
            {},
            optional={
                "consecutiveErrors": st.integers(1, 1000),
                "errorRatePercent": st.integers(1, 100),
                "openFor": st.sampled_from(["1s", "30s", "2m"]),
                "maxEjectedPercent": st.integers(0, 100),
            },
        ),
        "fallback": st.lists(links, max_size=5),
    },
)


@settings(max_examples=100, deadline=None)
@given(specs)
def test_every_spec_means_to_the_gateway_what_its_user_wrote(written):
    document = {
        "apiVersion": "pagelet.dev/v1alpha1", "kind": "ModelDeployment",
        "metadata": {"name": "chat"}, "spec": written,
    }  # fmt: skip
    accepted = operator_parse(document)
    model = to_model(accepted, {"small": "org/small"})
    state = RolloutState(phase=Phase.PROGRESSING, stable="chat-a", canary=model.revision)
    fleet = a_fleet({"chat-a": 1, model.revision: 1})
    outcome = decide(model, state, fleet, 1.0)
    table = route_table([outcome.plan.traffic])
    VALIDATOR.validate(table)
    (route,) = parse(json.dumps(table).encode()).models.values()

    spec = accepted.spec
    assert same(route.caps, spec.limits)
    assert same(route.quota, spec.limits)
    assert same(route.routing, spec.routing)
    assert (route.breaker.consecutive_errors, route.breaker.error_rate) == (
        spec.circuit_breaker.consecutive_errors, spec.circuit_breaker.error_rate_percent,
    )  # fmt: skip
    assert route.breaker.open_for_s == seconds(spec.circuit_breaker.open_for)
    assert route.breaker.max_ejected_percent == spec.circuit_breaker.max_ejected_percent
    assert route.request_timeout_s == seconds(spec.limits.request_timeout)
    assert (route.tenants is None) == (spec.limits.tenants is None)
    for understood, meant in zip(route.tenants or (), spec.limits.tenants or (), strict=True):
        assert same(understood.quota, meant)
        for name in ("name", "weight", "priority", "may_choose_revision"):
            assert getattr(understood, name) == getattr(meant, name)
    assert [(link.model, link.url, link.url_model) for link in route.fallback] == [
        ("org/small" if link.model_deployment else None, link.url, link.model)
        for link in spec.fallback
        if link.model_deployment != "gone"
    ]
    for revision in route.revisions:
        is_canary = revision.role == "canary"
        assert same(revision.quota, spec.limits.canary if is_canary else None)

    stored = status(
        model, outcome, before=None, endpoint=None, selector=None,
        gateway_key=("chat-gateway-key", "key"), now=1.0,
    )["traffic"]  # fmt: skip
    # What a cluster stores is the same entry, without addresses and with the key's place.
    assert stored.pop("gatewayKeySecretRef") == {"name": "chat-gateway-key", "key": "key"}
    readdressed = [{**item, "endpoints": []} for item in stored["revisions"]]
    elsewhere = [{**item, "endpoints": []} for item in outcome.plan.traffic["revisions"]]
    told = {**outcome.plan.traffic, "revisions": elsewhere}
    del told["rollout"]  # which is `status.rollout` there
    assert {**stored, "revisions": readdressed} == told


def same(understood, meant):
    """Whether the gateway's object has the spec's values under the same names."""
    return all(
        getattr(understood, field.name) == getattr(meant, field.name, None)
        for field in dataclasses.fields(understood)
    )
