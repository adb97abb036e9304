import asyncio
import hashlib
import json

import pytest

from gateway_process import GatewayProcess, model, post, tokens, until
from gateway_tenants import bearer, code, tenant
from gateway_upstream import Upstream, Wire
from pagelet_gateway.core.tenancy import opaque_id
from pagelet_gateway.server.tenancy import digest_of

PATH = "/v1/chat/completions"
RED, BLUE = "red-key-0123456789", "blue-key-0123456789"


@pytest.mark.parametrize(
    ("headers", "key"),
    [
        ({}, None),
        ({b"authorization": b"Bearer k1"}, b"k1"),
        ({b"authorization": b"bearer  k1 "}, b"k1"),
        ({b"authorization": b"Basic azE="}, None),
        ({b"authorization": b"Bearer "}, None),
        ({b"api-key": b"k2"}, b"k2"),
        ({b"x-api-key": b"k3"}, b"k3"),
        ({b"authorization": b"Bearer k1", b"api-key": b"k2"}, b"k1"),
        ({b"authorization": b"Bearer \xff"}, b"\xff"),
    ],
)
def test_a_key_is_found_where_clients_put_it(headers, key):
    assert digest_of(headers) == (hashlib.sha256(key).hexdigest() if key else None)


def two_models(engine: Upstream) -> list[dict[str, object]]:
    return [
        model("a", {"a-1": (100, [engine.url])}, tenants=[tenant("red", RED)]),
        model("b", {"b-1": (100, [engine.url])}, tenants=[tenant("blue", BLUE)]),
        model("open", {"open-1": (100, [engine.url])}),
    ]


@pytest.mark.parametrize(
    ("name", "headers", "status", "said"),
    [
        ("a", bearer(RED), 200, None),
        ("a", {"api_key": RED}, 200, None),
        ("open", {}, 200, None),
        ("open", bearer("EMPTY"), 200, None),
        ("a", {}, 401, "missing_api_key"),
        ("missing", {}, 401, "missing_api_key"),
        ("a", bearer("wrong"), 401, "invalid_api_key"),
        ("missing", bearer("wrong"), 401, "invalid_api_key"),
        ("a", bearer(BLUE), 404, "model_not_found"),
        ("missing", bearer(BLUE), 404, "model_not_found"),
    ],
)
async def test_a_key_opens_its_models_only(gateway, session, name, headers, status, said):
    async with Upstream() as engine:
        gateway.apply(*two_models(engine))
        found, body, answered = await post(session, gateway.url + PATH, {"model": name}, **headers)
        assert found == status
        assert len(engine.received) == (status == 200)
        if said:
            assert code(body) == said
            assert b"'a'" not in body or name == "a"
            assert ("www-authenticate" in answered) == (status == 401)


async def test_the_list_of_models_is_what_the_key_may_use(gateway, session):
    async with Upstream() as engine:
        gateway.apply(*two_models(engine))
        for headers, seen in (
            ({}, ["open"]),
            ({"Authorization": f"Bearer {RED}"}, ["a", "open"]),
            ({"Authorization": f"Bearer {BLUE}"}, ["b", "open"]),
            ({"Authorization": "Bearer wrong"}, ["open"]),
        ):
            async with session.get(gateway.url + "/v1/models", headers=headers) as answer:
                assert [item["id"] for item in (await answer.json())["data"]] == seen
        async with session.get(gateway.url + "/v1/models/a") as answer:
            assert answer.status == 404
        gateway.apply(*two_models(engine)[:2])
        async with session.get(gateway.url + "/v1/models") as answer:
            assert answer.status == 401


async def test_engines_get_who_asks_and_nothing_a_client_says_of_itself(gateway, session):
    limits = {"maxPromptTokens": 500, "maxOutputTokens": 50}
    who = tenant("red", RED, weight=3, priority=-2)
    async with Upstream() as engine:
        gateway.apply(
            model(
                "a",
                {"a-1": (100, [engine.url])},
                tenants=[who],
                limits=limits,
                gatewayKey="shared-secret-0123456789",
            )
        )
        lies = {
            f"x_pagelet_{name}": "9"
            for name in ("tenant", "weight", "priority", "gateway_key", "max_output_tokens")
        }
        await post(session, gateway.url + PATH, {"model": "a"}, **bearer(RED), **lies)
        sent = engine.received[0].headers
        found = {name: value for name, value in sent.items() if name.startswith("x-pagelet-")}
        assert int(found.pop("x-pagelet-deadline-ms")) > 0
        assert found == {
            "x-pagelet-gateway-key": "shared-secret-0123456789",
            "x-pagelet-tenant": opaque_id("default/a", "red"),
            "x-pagelet-weight": "3",
            "x-pagelet-priority": "-2",
            "x-pagelet-max-prompt-tokens": "500",
            "x-pagelet-max-output-tokens": "50",
            "x-pagelet-usage": "1",
        }
        assert RED not in str(sent)


async def test_a_revision_may_be_chosen_by_permission_only(gateway, session):
    async with Upstream() as engine:
        tester = tenant("tester", RED, mayChooseRevision=True)
        gateway.apply(
            model(
                "a",
                {"a-1": (100, [engine.url]), "a-2": (0, [engine.url])},
                tenants=[tester, tenant("user", BLUE)],
            )
        )
        wish = {"x_pagelet_revision": "a-2"}
        status, body, _ = await post(
            session, gateway.url + PATH, {"model": "a"}, **bearer(BLUE), **wish
        )
        assert (status, code(body)) == (403, "revision_not_allowed")
        assert engine.received == []
        status, _, answered = await post(
            session, gateway.url + PATH, {"model": "a"}, **bearer(RED), **wish
        )
        assert (status, answered["x-pagelet-revision"]) == (200, "a-2")


async def test_a_revoked_key_is_refused_at_once_and_its_open_stream_ends_whole(gateway, session):
    go_on = asyncio.Event()

    async def halts(wire: Wire) -> None:
        await wire.start_stream()
        await wire.token("before ")
        await go_on.wait()
        await wire.token("after")
        await wire.end_stream()

    async with Upstream(halts) as engine:
        revisions = {"a-1": (100, [engine.url])}
        gateway.apply(model("a", revisions, tenants=[tenant("red", RED, BLUE)]))
        ask = {"model": "a", "stream": True}
        stream = asyncio.create_task(post(session, gateway.url + PATH, ask, **bearer(RED)))
        await until(lambda: bool(engine.received))
        gateway.apply(model("a", revisions, tenants=[tenant("red", BLUE)]))
        status, body, _ = await post(session, gateway.url + PATH, ask, **bearer(RED))
        assert (status, code(body)) == (401, "invalid_api_key")
        go_on.set()
        status, body, _ = await stream
        assert (status, tokens(body)) == (200, "before after")
        status, _, _ = await post(session, gateway.url + PATH, ask, **bearer(BLUE))
        assert status == 200


async def test_required_keys_close_models_without_tenants(tmp_path, session):
    with GatewayProcess(tmp_path, "--require-keys") as closed:
        async with Upstream() as engine:
            closed.apply(*two_models(engine))
            for key, status in ((RED, 404), ("wrong", 401)):
                got, _, _ = await post(session, closed.url + PATH, {"model": "open"}, **bearer(key))
                assert got == status
            got, body, _ = await post(session, closed.url + PATH, {"model": "a"}, **bearer(RED))
            assert (got, json.loads(body)["model"]) == (200, "a")


async def test_a_strangers_body_takes_up_no_memory(gateway, session):
    async with Upstream() as engine:
        gateway.apply(two_models(engine)[0])
        reader, writer = await asyncio.open_connection("127.0.0.1", int(gateway.url.split(":")[-1]))
        head = f"POST {PATH} HTTP/1.1\r\nhost: x\r\ncontent-length: 10000000000\r\n\r\n"
        writer.write(head.encode() + b"x" * 1000)
        async with asyncio.timeout(20):
            answer = await reader.read()  # to its end: the connection closes
        assert answer.startswith(b"HTTP/1.1 401 ")
        assert b"missing_api_key" in answer
        writer.close()
        # A small body is read, and the connection serves the next request.
        url = gateway.url + PATH
        for key, status in (("wrong", 401), ("wrong", 401), (RED, 200)):
            got, _, headers = await post(session, url, {"model": "a"}, **bearer(key))
            assert (got, headers.get("connection")) == (status, None)
