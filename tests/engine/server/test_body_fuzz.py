"""Bodies nobody thought of: valid ones bent and broken by chance.

Two tests of 5,000 requests each; `PAGELET_FUZZ_EXAMPLES` says how many instead.
"""

import http.client
import json
import os
from urllib.parse import urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pagelet_engine.config import EngineConfig
from pagelet_engine.engine_client import engine_command
from pagelet_engine.server.errors import CODES
from pagelet_engine.server.protocol import ChatCompletionRequest, CompletionRequest
from server_client import request
from server_process import echo_server

NUM_EXAMPLES = int(os.environ.get("PAGELET_FUZZ_EXAMPLES", "5000"))
MODEL = {"model": "dummy://tiny", "served_model_name": "m", "num_threads": 1}
VALID = {
    "/v1/completions": {"model": "m", "prompt": "a", "max_tokens": 2},
    "/v1/chat/completions": {
        "model": "m",
        "max_tokens": 2,
        "messages": [{"role": "user", "content": "a"}],
    },
    "/tokenize": {"prompt": "a"},
    "/detokenize": {"tokens": [1]},
}
FIELDS = sorted({*ChatCompletionRequest.model_fields, *CompletionRequest.model_fields} - {"stream"})
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.integers(-2, 3)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20)
    | st.sampled_from(["m", "user", "auto", "none", "json_object", "<|im_end|>", "\ud800", "((("])
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from([*FIELDS, "type", "role", "content"]), inner, max_size=4)
    ),
    max_leaves=8,
)
changes = st.dictionaries(st.sampled_from(FIELDS), values, min_size=1, max_size=3)
fuzz = settings(max_examples=NUM_EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module")
def server():
    with echo_server(model=MODEL, command=engine_command(EngineConfig(**MODEL))) as server:
        server.wait_ready()
        yield server
        assert request(server.url, "GET", "/readyz").status == 200
        assert "Traceback" not in "".join(server.lines)


@pytest.fixture(scope="module")
def wire(server):
    """One connection for all examples."""
    connection = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=60)
    yield connection
    connection.close()


def answer(wire, path, raw):
    wire.request("POST", path, raw, {"content-type": "application/json"})
    response = wire.getresponse()
    return response.status, response.read()


def check(status, body):
    """Any answer is allowed that says what is wrong; none may be ours to be sorry for."""
    assert status < 500, (status, body[:300])
    if status >= 400:
        assert json.loads(body)["error"]["code"] in CODES


@fuzz
@given(path=st.sampled_from(sorted(VALID)), changed=changes)
def test_any_value_in_any_field_is_served_or_refused(wire, path, changed):
    check(*answer(wire, path, json.dumps(VALID[path] | changed).encode()))


@fuzz
@given(path=st.sampled_from(sorted(VALID)), data=st.data())
def test_any_damage_to_a_body_is_served_or_refused(wire, path, data):
    raw = bytearray(json.dumps(VALID[path]).encode())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(raw)))
        until = data.draw(st.integers(at, min(len(raw), at + 5)))
        raw[at:until] = data.draw(st.binary(max_size=5))
    check(*answer(wire, path, bytes(raw)))
