"""Every route against every kind of caller; what the table does not name is closed."""

import json
import signal

import pytest

from pagelet_engine.metrics import EngineMetrics
from pagelet_engine.server.access import POLICIES, Access, Guard, policy_of
from pagelet_engine.server.app import build_routes
from pagelet_engine.server.auth import KeyRing
from pagelet_engine.server.service import Service
from server_client import request
from server_process import echo_server

API, ADMIN, GATEWAY = "sk-may-call-the-api-", "sk-may-see-metrics--", "sk-is-the-gateway---"
CALLERS = {"nobody": None, "stranger": "sk-unknown-to-all---", "api": API, "admin": ADMIN}
MAY = {
    Access.PUBLIC: {"nobody", "stranger", "api", "admin"},
    Access.API: {"api"},
    Access.ADMIN: {"admin"},
}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("keys")
    keys = [
        {"key": API, "tenant": "a"},
        {"key": ADMIN, "tenant": "b", "scopes": ["admin"]},
    ]
    (folder / "keys.json").write_text(json.dumps({"keys": keys}))
    (folder / "gateway").write_text(GATEWAY)
    return folder / "keys.json", folder / "gateway"


@pytest.fixture(scope="module")
def url(files):
    listen = {"api_keys_file": str(files[0]), "gateway_key_file": str(files[1])}
    with echo_server(listen=listen) as server:
        yield server.wait_ready()


def routes():
    service = Service(model_name="m", max_queued=1, max_num_seqs=1, max_body_bytes=1, created=0)
    return paths_of(build_routes(service).routes)


def paths_of(found):
    """Return the paths of routes, those of included routers among them."""
    paths = set()
    for route in found:
        if hasattr(route, "path"):
            paths.add(route.path)
        else:
            paths |= paths_of(route.original_router.routes)
    return paths


def test_every_route_names_its_policy_and_every_policy_its_route():
    assert routes() == set(POLICIES)


def key_headers(key):
    return {} if key is None else {"authorization": f"Bearer {key}"}


@pytest.mark.parametrize("who", CALLERS)
@pytest.mark.parametrize("path", POLICIES)
def test_a_route_lets_in_whom_its_policy_lets_in(url, path, who):
    concrete = path.replace("{name:path}", "echo")
    reply = request(url, "GET", concrete, headers=key_headers(CALLERS[who]))
    is_in = reply.status not in (401, 403)
    assert is_in is (who in MAY[POLICIES[path]])
    assert is_in or reply.status == (401 if who in ("nobody", "stranger") else 403)


@pytest.mark.parametrize("path", ["/", "/docs", "/redoc", "/v1", "/v1/models2", "//livez"])
def test_what_has_no_policy_does_not_exist_for_anybody(url, path):
    reply = request(url, "GET", path, headers=key_headers(API))
    assert (reply.status, reply.json["error"]["code"]) == (404, "unknown_url")
    assert policy_of(path) is None


@pytest.mark.parametrize(
    "value", ["", "Bearer", "Bearer ", f"Basic {API}", API, f"Bearer {API} x", "Bearer \xff"]
)
def test_a_refusal_is_an_error_object_with_a_string_code(url, value):
    reply = request(url, "POST", "/v1/completions", {}, headers={"authorization": value})
    assert reply.status == 401
    error = reply.json["error"]
    assert (error["code"], error["type"]) == ("invalid_api_key", "authentication_error")
    assert reply.headers["www-authenticate"] == "Bearer"
    assert reply.headers["x-request-id"]
    assert API not in error["message"]


def test_a_key_works_whatever_the_case_of_its_scheme(url):
    body = {"model": "echo", "prompt": "a", "max_tokens": 2}
    for scheme in ("Bearer", "bearer", "BEARER"):
        headers = {"authorization": f"{scheme} {API}"}
        assert request(url, "POST", "/v1/completions", body, headers=headers).status == 200


async def seen_by_app(keys, headers, *, local_only=False):
    """Return the scope's state as the application gets it, or the refusal's status."""
    states, sent = [], []

    async def app(scope, receive, send):
        states.append(scope["state"])

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "path": "/v1/models", "method": "GET", "headers": headers}
    scope["state"] = {"request_id": "r"}
    await Guard(app, keys, EngineMetrics("m"), frozenset(Access), local_only=local_only)(
        scope, None, send
    )
    return states[0] if states else sent[0]["status"]


TRUSTED = [(b"x-pagelet-tenant", b"team-z"), (b"x-pagelet-deadline-ms", b"1500")]


async def test_the_gateways_headers_count_and_a_clients_do_not(files):
    keys = KeyRing(*files)
    gateway = (b"x-pagelet-gateway-key", GATEWAY.encode())
    client = (b"authorization", f"Bearer {API}".encode())
    state = await seen_by_app(keys, [client, gateway, *TRUSTED])
    assert (state["caller"].tenant, state["deadline_s"]) == ("team-z", 1.5)
    state = await seen_by_app(keys, [client, *TRUSTED])
    assert (state["caller"].tenant, state["deadline_s"]) == ("a", None)
    assert await seen_by_app(keys, TRUSTED) == 401
    state = await seen_by_app(KeyRing(None, None), TRUSTED)
    assert (state["caller"].tenant, state["deadline_s"]) == ("anonymous", None)


@pytest.mark.parametrize("value", [b"", b"-1", b"1e3", b"9" * 4000, "١".encode()])
async def test_a_deadline_that_is_no_number_of_milliseconds_is_refused(files, value):
    gateway = (b"x-pagelet-gateway-key", GATEWAY.encode())
    deadline = (b"x-pagelet-deadline-ms", value)
    assert await seen_by_app(KeyRing(*files), [gateway, deadline]) == 400
    client = (b"authorization", f"Bearer {API}".encode())
    state = await seen_by_app(KeyRing(*files), [client, deadline])
    assert state["deadline_s"] is None  # a client's word is not read at all


@pytest.mark.parametrize(
    ("host", "passes"),
    [
        (b"localhost:8000", True),
        (b"127.0.0.1", True),
        (b"[::1]:80", True),
        (b"10.0.0.7:8000", True),
        (b"evil.example", False),
        (b"localhost.evil.example:8000", False),
    ],
)
async def test_an_open_server_on_loopback_answers_to_no_foreign_name(files, host, passes):
    headers = [(b"host", host)]
    opened = await seen_by_app(KeyRing(None, None), headers, local_only=True)
    assert (opened != 421) is passes
    assert await seen_by_app(KeyRing(*files), headers, local_only=True) == 401
    assert await seen_by_app(KeyRing(None, None), headers) != 421


def test_with_a_port_of_its_own_metrics_are_there_and_the_api_is_not():
    with echo_server(listen={"metrics_port": 0}) as server:
        listening = server.wait_for("listening")
        url = server.wait_ready()
        admin = listening["admin"]
        assert admin != url
        assert request(url, "GET", "/metrics").status == 404
        assert request(admin, "GET", "/metrics").status == 200
        assert request(admin, "GET", "/v1/models").status == 404
        assert request(url, "GET", "/v1/models").status == 200
        assert {request(each, "GET", "/readyz").status for each in (url, admin)} == {200}
        server.signal(signal.SIGTERM)
        assert server.exit_code() == 0
