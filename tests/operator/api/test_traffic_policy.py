"""From spec to route table: what is said arrives, what is not said is left out."""

from operator_resources import MINIMAL, resource, tenant
from pagelet_operator.api.resource import parse, to_model
from pagelet_operator.core.model import Model


def model(peers: dict[str, str] | None = None, **spec: object) -> Model:
    return to_model(parse(resource(**spec)), peers or {})


def test_a_resource_that_asks_for_nothing_says_nothing():
    assert to_model(parse(MINIMAL)).traffic == to_model(parse(resource(limits={}))).traffic
    assert to_model(parse(MINIMAL)).traffic.entry == {}


def test_defaults_that_the_api_server_wrote_down_are_left_out():
    said = model(
        routing={"policy": "LeastQueue", "stickiness": "Conversation", "mirrorPercent": 0},
        circuitBreaker={"consecutiveErrors": 5, "errorRatePercent": 50, "openFor": "30s"},
        limits={"tenants": [tenant(weight=1, priority=0, mayChooseRevision=False)]},
    )
    assert said.traffic.entry == {
        "tenants": [{"name": "team", "apiKeySecretRef": {"name": "keys", "key": "team"}}]
    }


def test_no_tenants_lets_anybody_in_and_an_empty_list_nobody():
    assert "tenants" not in model().traffic.entry
    assert model(limits={"tenants": []}).traffic.entry["tenants"] == []


def test_durations_become_seconds_and_limits_of_a_canary_stand_with_the_canary():
    said = model(
        circuitBreaker={"openFor": "1m30s"},
        limits={"canary": {"requestsPerMinute": 6}, "maxPromptTokens": 9, "requestTimeout": "5m"},
    ).traffic
    assert said.entry == {
        "circuitBreaker": {"openForSeconds": 90.0},
        "limits": {"maxPromptTokens": 9},
    }
    assert said.canary == {"requestsPerMinute": 6}


def test_a_fallback_is_named_as_clients_name_it_and_one_that_is_missing_is_left_out():
    chain = [
        {"modelDeployment": "small"},
        {"modelDeployment": "gone"},
        {"modelDeployment": "gone"},
        {"url": "https://host/v1", "model": "big", "apiKeySecretRef": {"name": "s", "key": "k"}},
    ]
    said = model({"small": "org/small"}, fallback=chain).traffic
    assert said.entry["fallback"] == [
        {"model": "org/small"},
        {"url": "https://host/v1", "urlModel": "big", "apiKeySecretRef": {"name": "s", "key": "k"}},
    ]
    assert said.missing == ("gone",)
