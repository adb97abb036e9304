"""The API's document is true: whatever is made from it gets an answer that it declares."""

import os

import jsonschema
import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi import checks

from pagelet_engine.server.access import POLICIES
from pagelet_engine.server.openapi_document import document
from server_client import request
from server_process import echo_server

NUM_EXAMPLES = int(os.environ.get("PAGELET_SCHEMA_EXAMPLES", "60"))
CHECKS = [
    not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
]

api = schemathesis.openapi.from_dict(document())
api.config.phases.update(phases=["fuzzing", "coverage"])


@pytest.fixture(scope="module")
def url():
    with echo_server("--step-seconds", "0", "--max-model-len", "256") as server:
        yield server.wait_ready()


@api.parametrize()
@settings(
    max_examples=NUM_EXAMPLES,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
def test_every_request_is_answered_as_declared(url, case):
    if isinstance(case.body, dict) and "model" in case.body:
        case.body["model"] = "echo"  # any other name is a 404 before anything is looked at
    case.call_and_validate(base_url=url, checks=CHECKS, timeout=30)


def test_every_route_is_described_and_served(url):
    served = request(url, "GET", "/openapi.json")
    assert served.status == 200
    assert served.json == document()
    assert set(served.json["paths"]) == {path.replace(":path", "") for path in POLICIES}


@pytest.mark.parametrize(
    "body",
    [
        {"messages": [{"role": "user", "content": "x"}], "stop": "a", "logit_bias": {"1": 2.5}},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "x"}]}]},
        {"messages": [{"role": "user", "content": "x"}], "stop": ["a", "b"], "max_tokens": 3},
    ],
)
def test_what_is_accepted_is_described(body):
    schemas = document()["components"]["schemas"]
    schema = {
        "$ref": "#/components/schemas/ChatCompletionRequest",
        "components": {"schemas": schemas},
    }
    jsonschema.validate({"model": "m"} | body, schema)
